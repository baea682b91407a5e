"""Programs that take turns on one machine, so that a shared machine's drifting speed meets all of them alike.

Each contestant is a process group of its own, stopped while it is another's turn: its threads, its DataLoader
workers, the processes that it trains with and its allocator's settings touch nobody else's time. A contestant reads
the seconds of its turn from standard input and answers with one line of JSON. This module needs the standard library
only, so that contestants in other environments can use it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Turns:
    """A contestant's side.

    What it prints from here on goes to standard error.

    Args:
        finish: waits until the device has done all that it was told.
    """

    def __init__(self, finish: Callable[[], None] = lambda: None) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._finish = finish

    def wait(self) -> None:
        """Waits for its turn; the process ends here when there is none left."""
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self._seconds, self._images, self._start = float(line), 0, time.perf_counter()

    def count(self, images: int) -> None:
        """Counts the images of one step, and ends the turn when its time is over."""
        self._images += images
        if time.perf_counter() - self._start < self._seconds:
            return
        self._finish()
        turn = {"images": self._images, "seconds": time.perf_counter() - self._start}
        print(json.dumps(turn), file=self._answers, flush=True)
        self.wait()


class ContestantError(Exception):
    """A contestant ended before its time; the text is the last that it said."""


class Contestant:
    """The measuring side; a context manager that ends the contestant with all its processes and temporary files.

    Args:
        command: command that starts the contestant.
        environment: variables that its process has besides this one's.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        self._folder = tempfile.TemporaryDirectory(prefix="cifar_hpc-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "TMPDIR": self._folder.name, **(environment or {})},
            text=True,
            start_new_session=True,
        )

    @property
    def group(self) -> int:
        """Number of its process group."""
        return self._process.pid

    def take_turn(self, seconds: float) -> float:
        """Gives it a turn of at least that many seconds, in whole steps, one at least; returns its images per second.

        Raises:
            ContestantError: if it ends instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.killpg(self.group, signal.SIGCONT)
        try:
            print(seconds, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._said.seek(0)
            raise ContestantError((self._said.read().strip() or "it said nothing").splitlines()[-1])
        os.killpg(self.group, signal.SIGSTOP)
        turn = json.loads(line)
        return float(turn["images"] / turn["seconds"])

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *_: object) -> None:
        # Before the wait, which frees the group's number: others may live on in it when the first has ended.
        with suppress(ProcessLookupError, PermissionError):  # the latter is macOS' word for none that lives
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                stream.close()
        self._folder.cleanup()


def package_path() -> str:
    """Makes PYTHONPATH for contestants: this package, wherever it is, before what is there already."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
