"""Runs of several processes, started by the launchers themselves."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from cifar_hpc.fit.trainer import Trainer
from tests.conftest import HANGING, REPRODUCTIONS, ROOT, Finished, record

CLUSTER = ["-c", str(ROOT / "configs" / "cpu_cluster.yaml")]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "cifar_hpc"]
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", sys.executable, "-m", "cifar_hpc"]

Start = Callable[..., "subprocess.Popen[str]"]
Launch = Callable[..., Finished]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of minutes on programs that few machines have run when they are asked for."""
    if "cluster" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: `make test-cluster`"))


def needs(*programs: str) -> None:
    """Skips where a program is missing, and says which."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: `make test-cluster` installs them")


@pytest.fixture(scope="session")
def plain_sgd(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sample, SmallCNN, three epochs, one thread, and an optimiser that does not amplify rounding.

    Adam divides tiny gradients by themselves: the last bit of a sum decides the direction of whole steps.
    """
    file = tmp_path_factory.mktemp("plain") / "sgd.yaml"
    file.write_text("model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}}}\n")
    return [*_on_the_sample("ghugre_sequential"), "-c", str(file)]


@pytest.fixture(scope="session")
def resnet18() -> list[str]:
    """The sample, ResNet-18 as shahrin trained it, three epochs, one thread."""
    return _on_the_sample("shahrin_table2_row3")


def _on_the_sample(row: str) -> list[str]:
    return ["-c", str(REPRODUCTIONS / f"{row}.yaml"), "--data.sample=true", "--trainer.max_epochs=3",
            "--trainer.deterministic=true", "--trainer.threads=1"]  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a command line of its own, without waiting for it."""

    def run(*line: str | Path, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(part) for part in line],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def launch(start: Start) -> Launch:
    """Runs a command line of its own to its end."""

    def run(*line: str | Path, env: dict[str, str] | None = None, timeout: float = HANGING) -> Finished:
        process = start(*line, env=env)
        out, err = process.communicate(timeout=timeout)
        return Finished(process.returncode, out, err)

    return run


def bare_trainer(folder: Path, callbacks: list[Callback], **flags: Any) -> Trainer:
    """A Trainer that shows, logs and keeps nothing; on the CPU, unless the flags say otherwise."""
    return Trainer(
        **{"accelerator": "cpu"} | flags,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        default_root_dir=folder,
    )


def losses(folder: Path) -> list[float]:
    return [point[key] for point in record(folder)["curve"] for key in ("train_loss", "test_loss")]
