"""Real processes that take turns."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cifar_hpc.bench.turns import Contestant, ContestantError, package_path
from tests.conftest import HANGING, wait_for

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
        wait_for(lambda: all_stopped(contestant.group))
        before = beats.stat().st_size
        time.sleep(0.2)
        assert beats.stat().st_size == before
        contestant.take_turn(0.05)
        wait_for(lambda: contestant.take_turn(0.05) and beats.stat().st_size > before)
        pid = contestant._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


SIBLINGS = """
import subprocess, sys
from cifar_hpc.bench.turns import Turns
beat = "import sys, time; f = open(sys.argv[1], 'ab', buffering=0)\\nwhile True: f.write(b'.'); time.sleep(0.001)"
turns = Turns()
subprocess.Popen([sys.executable, "-c", beat, sys.argv[1]])
turns.wait()
if sys.argv[2] == "ends": sys.exit("it has ended")
while True: turns.count(7)
"""


def test_the_processes_that_it_started_stop_with_it(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    with Contestant([sys.executable, "-c", SIBLINGS, str(beats), "goes on"], ENVIRONMENT) as contestant:
        # Turns until the other process, too, has started.
        wait_for(lambda: contestant.take_turn(0.5) and beats.exists() and beats.stat().st_size > 0)
        wait_for(lambda: all_stopped(contestant.group))
        before = beats.stat().st_size
        time.sleep(0.2)
        assert beats.stat().st_size == before


def test_the_processes_that_it_left_behind_end_with_it(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    with Contestant([sys.executable, "-c", SIBLINGS, str(beats), "ends"], ENVIRONMENT) as contestant:
        with pytest.raises(ContestantError, match=r"^it has ended$"):
            contestant.take_turn(0.1)
        folder = Path(contestant._folder.name)
        assert folder.is_dir()
    before = beats.stat().st_size if beats.exists() else 0
    time.sleep(0.2)
    assert (beats.stat().st_size if beats.exists() else 0) == before
    assert not folder.exists()


def test_the_last_words_of_one_that_fails() -> None:
    program = "import sys; print('some noise', file=sys.stderr); sys.exit('the disk is full')"
    with (
        Contestant([sys.executable, "-c", program]) as contestant,
        pytest.raises(ContestantError, match=r"^the disk is full$"),
    ):
        contestant.take_turn(0.1)


def test_a_terminated_command_ends_what_it_started() -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "cifar_hpc", "bench", "scaling", "--row=ghugre_sequential", "--sample", "--threads=1",
         "--processes=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | ENVIRONMENT,
    )  # fmt: skip
    children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children")
    if not children.exists():
        bench.kill()
        pytest.skip("no /proc that names a process's children")
    ours: list[str] = []

    def at_work() -> bool:
        """Whether it waits for an answer of its contestant, which is about to train: has loaded torch."""
        assert bench.poll() is None, bench.communicate()
        ours[:] = [pid for pid in children.read_text().split() if b"bench.ours" in command_line(pid)]
        return any(b"libtorch_cpu" in read(f"/proc/{pid}/maps") for pid in ours)

    wait_for(at_work)
    bench.terminate()
    bench.communicate(timeout=HANGING)
    assert bench.returncode == 128 + signal.SIGTERM
    assert not any(command_line(pid) for pid in ours)


def read(file: str) -> bytes:
    """What Linux tells of a process, which may have ended."""
    try:
        return Path(file).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def command_line(pid: str) -> bytes:
    return read(f"/proc/{pid}/cmdline")


def all_stopped(group: int) -> bool:
    """Whether the signal that stops a group of processes has arrived; without /proc, after a while that is enough."""
    if not Path("/proc/self/stat").exists():
        time.sleep(0.5)
        return True
    # After the name in brackets: state, parent, group.
    states = [read(str(file)).rpartition(b")")[2].split()[:3] for file in Path("/proc").glob("[0-9]*/stat")]
    return all(state[0] in (b"T", b"Z") for state in states if state and state[2] == str(group).encode())
