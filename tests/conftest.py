"""Shared fixtures. Everything here is real: real images, real training, real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_hpc.cli import main
from cifar_hpc.data import arrays
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.errors import UserError

ROOT = Path(__file__).parents[1]
REPRODUCTIONS = ROOT / "reproductions"
FIVE = ("shahrin", "ashraf", "ghugre", "aamir", "luo")
"""The reports that tests know the findings and claims of; others may be added."""
SMOKE = ["-c", str(ROOT / "configs" / "cpu.yaml"), "-c", str(ROOT / "configs" / "smoke.yaml")]
SEQUENTIAL = ["-c", str(REPRODUCTIONS / "ghugre_sequential.yaml"), "--data.sample", "true"]


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


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m cifar_hpc …` in a folder of its own."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None, timeout: float = 300) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "cifar_hpc", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command that must be refused, in this process to save the imports; gives its one sentence."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()  # what commands before this one printed
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(status, captured.out, captured.err).sentence()

    return run


@pytest.fixture
def fit_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fit]:
    """Runs `fit` in this process, to save the imports, where a process of its own is not what is tested."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def run(*arguments: str | Path) -> None:
        assert main(["fit", *(str(argument) for argument in arguments)]) == 0

    yield run
    torch.set_num_threads(threads)


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


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one complete run of three epochs on the sample, shared by tests that only read it."""
    folder = tmp_path_factory.mktemp("finished")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "cifar_hpc",
            "fit",
            *SEQUENTIAL,
            "--trainer.max_epochs=3",
            "--run_dir",
            str(folder / "run"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    return folder / "run"
