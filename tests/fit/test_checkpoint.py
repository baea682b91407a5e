"""Checkpoints are written beside their place, and older ones go, whichever process wrote them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cifar_hpc.fit.checkpoint import CheckpointFile
from tests.conftest import HANGING, SEQUENTIAL, Command, record, same, weights


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def partial(run: Path, to: Path) -> Path:
    folder = Path(shutil.copytree(run, to))
    text = (folder / "result.json").read_text().replace('"status": "complete"', '"status": "partial"')
    (folder / "result.json").write_text(text)
    return folder


def test_older_ones_of_other_processes_go_and_others_stay(finished_run: Path, command: Command, tmp_path: Path) -> None:
    folder = partial(finished_run, tmp_path / "run")
    place = folder / "checkpoints"
    (place / "epoch0003.ckpt").write_bytes(b"cut off by a kill")
    shutil.copy(place / "epoch0002.ckpt", place / "epoch0001.ckpt")  # left by a kill between writing and removing
    shutil.copy(place / "epoch0002.ckpt", place / "epoch=0-step=1.ckpt")  # a user's own
    (place / ".epoch0003.ckpt.part").write_bytes(b"half of one")
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", folder, "--resume")
    assert done.status == 0, done.err
    assert names(folder) == ["epoch0002.ckpt", "epoch0003.ckpt", "epoch=0-step=1.ckpt"]
    assert same(weights(finished_run, 3), weights(folder, 3))


def test_kills_leave_no_temporary_files_and_no_warnings(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    line = [sys.executable, "-m", "cifar_hpc", "fit", *SEQUENTIAL, "--trainer.max_epochs=6", "--run_dir", "run"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    again = [*line, "--resume"]
    for epoch in (2, 4):
        process = subprocess.Popen(
            line if epoch == 2 else again, stderr=subprocess.DEVNULL, cwd=tmp_path, env=environment
        )
        while not (tmp_path / "run" / "checkpoints" / f"epoch{epoch:04d}.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(HANGING)
    done = subprocess.run(
        again, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=HANGING, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not re.search("warn|not empty", done.stderr, re.IGNORECASE), done.stderr
    assert record(tmp_path / "run")["status"] == "complete"
    assert names(tmp_path / "run") == ["epoch0005.ckpt", "epoch0006.ckpt"]
    assert not list(temporary.rglob("tmp*"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before_it(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints" / "epoch0001.ckpt"
    CheckpointFile().save_checkpoint({"epoch": 0}, place)
    with pytest.raises(Exception, match="pickle"):
        CheckpointFile().save_checkpoint({"epoch": lambda: 1}, place)
    assert torch.load(place, weights_only=True) == {"epoch": 0}
    assert [path.name for path in place.parent.iterdir()] == ["epoch0001.ckpt"]
