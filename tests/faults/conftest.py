"""Commands with a fault, each in a process of its own, and what every one of them must be able to show."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

MOST_SECONDS = 20
MOST_MEBIBYTES = 1024
LONGEST_SENTENCE = 1_100


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Seconds are the processor's, so that a busy machine changes nothing; memory is counted beside that of the loaded
    libraries, which differs between their builds.
    """

    status: int
    out: str
    err: str
    seconds: float
    mebibytes: float

    def check(self) -> "Ended":
        """What holds of every command, whatever it was given."""
        told = f"status {self.status}: {self.err[-3000:]}"
        assert 0 <= self.status <= 3, told
        assert "Traceback" not in self.err, told
        assert "nobody foresaw" not in self.err, told
        assert self.seconds < MOST_SECONDS, f"{self.seconds:.1f} s; {told}"
        assert self.mebibytes < MOST_MEBIBYTES, f"{self.mebibytes:.0f} MiB; {told}"
        odd = {c for c in self.out + self.err if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\r\t"}
        assert not odd, f"{odd}; {told}"
        if self.status == 2:
            lines = [line for line in self.err.splitlines() if line.startswith("cifar_hpc: ")]
            assert lines, told
            assert max(map(len, lines)) < LONGEST_SENTENCE, told
        return self


Faulty = Callable[..., Ended]


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline()  # it has loaded everything
        yield process
        process.stdin.close()


@pytest.fixture
def faulty(server: subprocess.Popen[str], tmp_path: Path) -> Faulty:
    """Runs a command in the test's folder; see `tests.faults.server`."""

    def run(*arguments: str | Path, folder: Path = tmp_path, **request: Any) -> Ended:
        content = {"arguments": list(map(str, arguments)), "folder": str(folder), **request}
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps(content), file=server.stdin, flush=True)
        return Ended(**json.loads(server.stdout.readline()))

    return run
