"""Real processes that take turns."""

import os
import sys
import time
from pathlib import Path

import pytest

from cifar_hpc.bench.turns import Contestant, ContestantError, package_path

COUNTER = """
import sys, threading, time
from cifar_hpc.bench.turns import Turns
turns = Turns()
def beat():
    with open(sys.argv[1], "ab", buffering=0) as file:
        while True:
            file.write(b".")
            time.sleep(0.001)
threading.Thread(target=beat, daemon=True).start()
turns.wait()
while True:
    time.sleep(0.01)
    print("this is no answer")
    turns.count(7)
"""
ENVIRONMENT = {"PYTHONPATH": package_path()}


def test_a_turn_counts_its_images_and_nothing_runs_between_turns(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    with Contestant([sys.executable, "-c", COUNTER, str(beats)], ENVIRONMENT) as contestant:
        contestant.take_turn(0.05)
        assert 0 < contestant.take_turn(0.1) <= 7 / 0.01  # 7 images in at least 10 ms
        time.sleep(0.05)  # until the signal has arrived
        before = beats.stat().st_size
        time.sleep(0.2)
        assert beats.stat().st_size == before
        contestant.take_turn(0.05)
        assert beats.stat().st_size > before
        pid = contestant._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_last_words_of_one_that_fails() -> None:
    program = "import sys; print('some noise', file=sys.stderr); sys.exit('the disk is full')"
    with (
        Contestant([sys.executable, "-c", program]) as contestant,
        pytest.raises(ContestantError, match=r"^the disk is full$"),
    ):
        contestant.take_turn(0.1)
