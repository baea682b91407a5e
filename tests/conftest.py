"""Shared fixtures. Everything here is real: real images, real training, real processes."""

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
import yaml
from filelock import FileLock

from cifar_hpc.cli import main
from cifar_hpc.collection.folder import Collection, choosing, chosen
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.data import arrays
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.errors import UserError
from cifar_hpc.machine import usable_cores

ROOT = Path(__file__).parents[1]
REPRODUCTIONS = ROOT / "reproductions"
with choosing(str(REPRODUCTIONS)):
    COLLECTION = chosen()
EXPECTED = read_yaml(REPRODUCTIONS / "notes" / "expected.yaml")
"""What is known of the packaged reports' findings and claims."""
SMOKE = ["-c", str(ROOT / "configs" / "cpu.yaml"), "-c", str(ROOT / "configs" / "smoke.yaml")]
SEQUENTIAL = ["-c", str(REPRODUCTIONS / "ghugre_sequential.yaml"), "--data.sample", "true"]

HANGING = 1800
"""Seconds after which a process is taken to hang; no measure of how fast it must be."""

two_cores = pytest.mark.skipif(usable_cores() < 2, reason="two processes need two cores")

# Examples take as long as the machine lets them; how fast code is, `bench` measures. They are the same each time, so
# that a change is judged by what it changed; `pytest --hypothesis-profile "new examples"` looks for others.
hypothesis.settings.register_profile("new examples", deadline=None)
hypothesis.settings.register_profile("same examples", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same examples")


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one line that a refused command prints; anything more is a failure of the test."""
        assert self.status == 2, self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Command = Callable[..., Finished]
Refuse = Callable[..., str]
Fit = Callable[..., None]
Terminal = Callable[..., str]


def reports_in(folder: Path, **files: Any) -> Collection:
    """A copy of the packaged reports, with some files of other content: `claims={...}` is claims.yaml."""
    shutil.copytree(REPRODUCTIONS, folder, dirs_exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with choosing(str(folder)):
        return chosen()


def record(folder: Path) -> dict[str, Any]:
    """A run's result.json."""
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    """The network's weights after an epoch."""
    path = folder / "checkpoints" / f"epoch{epoch:04d}.ckpt"
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=False)["state_dict"]
    return state


def change(content: Any, key: str, value: Any) -> None:
    """Sets a value within nested content by a key as `curve.0.epoch`, or removes it when the value is `...`."""
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    for parent in parents:
        content = content[parent]
    if value is ...:
        del content[last]
    else:
        content[last] = value


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two networks have the same weights to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def wait_for(holds: Callable[[], object]) -> None:
    """Waits until something holds, for however long a busy machine takes."""
    deadline = time.monotonic() + HANGING
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Runs `python -m cifar_hpc …` in a process and a folder of its own; for what `command` cannot show."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "cifar_hpc", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=HANGING,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """Runs `python -m cifar_hpc …` on a terminal of some columns; gives what stands there."""

    def run(columns: int, *arguments: str | Path) -> str:
        screen, stream = pty.openpty()
        fcntl.ioctl(stream, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        line = [sys.executable, "-m", "cifar_hpc", *map(str, arguments)]
        usual = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"TERM": "dumb"}
        with subprocess.Popen(line, cwd=tmp_path, env=usual, stdin=stream, stdout=stream, stderr=stream):
            os.close(stream)
            shown = b""
            with suppress(OSError):  # which is how a terminal ends
                while part := os.read(screen, 4096):
                    shown += part
        os.close(screen)
        return shown.decode().replace("\r\n", "\n")

    return run


@pytest.fixture
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets commands run in this process, which saves the seconds of imports, and leaves it as it was."""
    monkeypatch.chdir(tmp_path)
    threads, handler, environment = torch.get_num_threads(), signal.getsignal(signal.SIGTERM), dict(os.environ)
    yield
    for name in os.environ.keys() - environment.keys():  # Lightning leaves a process's rank there
        del os.environ[name]
    os.environ.update(environment)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def command(in_its_folder: None, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in a folder of its own and in this process."""

    def run(*arguments: str | Path) -> Finished:
        capsys.readouterr()  # what commands before this one printed
        status = main([str(argument) for argument in arguments])
        return Finished(status, *capsys.readouterr())

    return run


@pytest.fixture
def refuse(command: Command) -> Refuse:
    """Runs a command that must be refused; gives its one sentence."""
    return lambda *arguments: command(*arguments).sentence()


@pytest.fixture
def fit_here(in_its_folder: None) -> Fit:
    """Runs `fit` in this process; what it prints is the test's to read."""

    def run(*arguments: str | Path) -> None:
        assert main(["fit", *(str(argument) for argument in arguments)]) == 0

    return run


def full_dataset(name: str) -> CIFARArrays:
    """The whole dataset, or a skip that says how to get it."""
    try:
        return arrays.load(name, check=False)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cifar10() -> CIFARArrays:
    return full_dataset("cifar10")


@pytest.fixture(scope="session")
def cifar100() -> CIFARArrays:
    return full_dataset("cifar100")


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that pytest's workers share: the first that needs it makes it."""
    together = factory.getbasetemp().parent if os.environ.get("PYTEST_XDIST_WORKER") else factory.getbasetemp()
    folder, whole = together / name, together / f"{name}.whole"
    with FileLock(together / f"{name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what one that failed has left
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


def shared_run(factory: pytest.TempPathFactory, epochs: int) -> Path:
    """A complete run on the sample."""

    def make(folder: Path) -> None:
        flags = [*SEQUENTIAL, f"--trainer.max_epochs={epochs}", "--run_dir", "run"]
        line = [sys.executable, "-m", "cifar_hpc", "fit", *flags]
        subprocess.run(line, check=True, capture_output=True, cwd=folder, timeout=HANGING)

    return shared(factory, f"run of {epochs} epochs", make) / "run"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one complete run of three epochs, for tests that only read it."""
    return shared_run(tmp_path_factory, epochs=3)
