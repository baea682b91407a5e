"""What a signal leaves behind where Lightning started the second process."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGING, ROOT, record, same, wait_for, weights
from tests.hpc.conftest import Launch, Start

pytestmark = pytest.mark.cluster

EPOCHS = 30


def running(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def test_a_signal_ends_both_processes_and_the_run_goes_on(
    plain_sgd: list[str], start: Start, launch: Launch, tmp_path: Path
) -> None:
    line = [sys.executable, "-m", "cifar_hpc", "fit", *plain_sgd, "-c", ROOT / "configs" / "cpu_ddp2.yaml",
            f"--trainer.max_epochs={EPOCHS}", "--resume", "--run_dir"]  # fmt: skip
    process = start(*line, "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch0003.ckpt"
    wait_for(lambda: checkpoint.exists() or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=HANGING)
    assert process.returncode == 128 + signal.SIGUSR1
    told = [text for text in err.splitlines() if text.startswith("cifar_hpc: ")]
    assert len(told) == 1, err
    assert "stopped by SIGUSR1" in told[0]
    assert "--run_dir run --resume" in told[0]
    left = record(tmp_path / "run")
    assert left["status"] == "partial"
    wait_for(lambda: not running(tmp_path))
    assert record(tmp_path / "run") == left  # neither process went on
    for folder in ("run", "whole"):
        done = launch(*line, folder)
        assert done.status == 0, done.err
    assert same(weights(tmp_path / "whole", EPOCHS), weights(tmp_path / "run", EPOCHS))
