"""What a run says of how far it is, on a terminal of 80 columns and without one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.conftest import ROOT, SEQUENTIAL, Fit


def on_a_terminal(*arguments: str, columns: int) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))  # no height, as in some containers
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "cifar_hpc", *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as running:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    assert running.returncode == 0, shown.decode()
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""


def test_the_bar_has_epoch_time_left_and_two_metrics_in_80_columns(in_its_folder: None) -> None:
    shown = on_a_terminal("fit", *SEQUENTIAL, "--data.sample=true", "--trainer.max_epochs=3", columns=80)
    states = [state for state in re.split("[\r\n]", shown) if "%" in state and "█" in state]
    assert all(len(state) <= 80 for state in states)
    last = next(state for state in reversed(states) if state.startswith("epoch 3/3"))
    assert re.search(r"100 %, loss \d\.\d{3}, test \d+\.\d\d %", last)
    assert re.search(r"epoch 2/3 \S*█+.* %, 00:\d\d left, loss \d\.\d{3}, test \d", shown)
    assert last.count("█") >= 20  # a bar and no stump
    assert "alidation" not in shown


def test_lines_have_the_same_facts(fit_here: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    fit_here(*SEQUENTIAL, "--data.sample=true", "--trainer.max_epochs=2", "--run_dir", Path("run"))
    told = capfd.readouterr().err
    assert re.search(r"epoch 1/2: train loss .*, test accuracy \d+\.\d\d %, \d+\.\d s, 00:\d\d left\n", told)
    assert re.search(r"epoch 2/2: .* s\n", told)
    assert ", 2 epochs on a sample" in told.replace(";", ",")


@pytest.mark.parametrize(
    ("terminal", "flags"), [(False, []), (True, []), (True, ["--trainer.enable_progress_bar=false"])]
)
def test_a_bar_that_was_named_stands_in_for_ours(
    terminal: bool, flags: list[str], fit_here: Fit, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    bar = "--trainer.callbacks+=lightning.pytorch.callbacks.TQDMProgressBar"
    fit_here(*SEQUENTIAL, "--data.sample=true", "--trainer.max_epochs=1", bar, *flags, "--run_dir", Path("run"))
    shown = "".join(capfd.readouterr())
    assert ("Epoch 0: 100%" in shown) is (not flags)  # a replay shows none, whatever the run did
    assert "epoch 1/1" not in shown
