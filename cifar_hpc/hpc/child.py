"""`fit` as a process of its own, watched from outside and ended after a whole epoch."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, of Linux' prctl


@contextmanager
def fit_process(arguments: list[str], log: Path, niceness: int = 0) -> Iterator["subprocess.Popen[str]"]:
    """Starts `fit`, which ends with the block, or with this process however that ends, and can be resumed.

    Args:
        arguments: what follows `fit` on the command line.
        log: file that what it prints is added to.
        niceness: how much its priority is lowered.
    """
    libc = ctypes.CDLL(None)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    process = subprocess.Popen(
        [sys.executable, "-m", "cifar_hpc", "fit", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        preexec_fn=partial(_prepare, libc, niceness),
    )
    os.close(output)
    try:
        yield process
    finally:
        stop(process)


def _prepare(libc: ctypes.CDLL, niceness: int) -> None:
    """Runs in the new process before anything else."""
    os.nice(niceness)
    with suppress(AttributeError):  # not on Linux: who kills this process outright then leaves `fit` at work
        libc.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


def stop(process: "subprocess.Popen[str]") -> None:
    """Asks `fit` to end, if it has not, and waits until it has put everything away."""
    if process.poll() is None:
        process.terminate()
    process.wait()


def watch(process: "subprocess.Popen[str]", folder: Path, enough: Callable[[int], bool], every: float = 0.5) -> None:
    """Waits for a process of `fit`, and ends it as soon as it has done enough.

    Args:
        process: the process of `fit`.
        folder: the run's directory.
        enough: told the number of epochs behind the newest checkpoint, says whether to end.
        every: seconds between two looks.
    """
    while process.poll() is None:
        if enough(saved_epochs(folder)):
            return stop(process)
        time.sleep(every)
    return None


def saved_epochs(folder: Path) -> int:
    """Counts the epochs behind the newest checkpoint of a run; a checkpoint appears under its name when it is whole."""
    names = (path.stem.removeprefix("epoch") for path in folder.glob("checkpoints/epoch*.ckpt"))
    return max((int(name) for name in names if name.isdigit()), default=0)


def curve(folder: Path) -> list[dict[str, Any]]:
    """Reads the epochs in a run's result.json so far; none where it is not there yet."""
    try:
        points: list[dict[str, Any]] = json.loads((folder / "result.json").read_text(encoding="utf-8"))["curve"]
        return points
    except (OSError, ValueError, KeyError, TypeError):
        return []
