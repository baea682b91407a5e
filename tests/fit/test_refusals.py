"""What Lightning's and torch's own classes refuse, at once or amid a run, is told in a sentence that names the key."""

import json
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.fit.refusals import refused_by
from tests.conftest import SEQUENTIAL, Command, Refuse


def named(flag: str, name: str, **arguments: Any) -> str:
    """A flag that names a class with its arguments; callbacks are a list of them."""
    value: Any = {"class_path": name, "init_args": arguments}
    return f"--{flag}={json.dumps([value] if flag == 'trainer.callbacks' else value)}"


SCHEDULER, STRATEGY = "model.init_args.scheduler", "trainer.strategy"
REFUSED = {
    "trainer.callbacks: EarlyStopping refuses: Early stopping conditioned on metric `nothing`": (
        named("trainer.callbacks", "EarlyStopping", monitor="nothing")
    ),
    "trainer.callbacks: BackboneFinetuning refuses": named("trainer.callbacks", "BackboneFinetuning"),
    "trainer.callbacks: Timer refuses: `Timer(duration='abc')`": named("trainer.callbacks", "Timer", duration="abc"),
    "/proc/no: No such file": named("trainer.callbacks", "ModelCheckpoint", dirpath="/proc/no"),
    "trainer.logger: CSVLogger refuses": named("trainer.logger", "CSVLogger", save_dir="/proc/no"),
    "trainer.profiler: SimpleProfiler refuses": named(
        "trainer.profiler", "SimpleProfiler", dirpath="/proc/no", filename="a"
    ),
    f"{STRATEGY}: SingleDeviceStrategy refuses": named(STRATEGY, "SingleDeviceStrategy", device="nonsense"),
    f"{STRATEGY}: DDPStrategy refuses": named(STRATEGY, "DDPStrategy", process_group_backend="abc"),
    f"{SCHEDULER}: StepLR refuses: ZeroDivisionError": named(SCHEDULER, "torch.optim.lr_scheduler.StepLR", step_size=0),
    f"{SCHEDULER}: OneCycleLR refuses": named(SCHEDULER, "torch.optim.lr_scheduler.OneCycleLR", max_lr=0.1),
    "model.init_args.optimizer: SparseAdam refuses": "--model.init_args.optimizer=torch.optim.SparseAdam",
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_a_class_refuses_is_told_with_its_key(told: str, command: Command, tmp_path: Path) -> None:
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--run_dir", tmp_path / "run", REFUSED[told])
    assert done.status == 2, done.err
    assert "Traceback" not in done.err
    assert told in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("strategy=xla", "trainer.strategy: xla needs the package torch_xla; install it with `pip install torch_xla`"),
        ("strategy=ddp9", "trainer.strategy: Lightning refuses: You selected an invalid strategy name"),
        ("profiler=nonsense", "trainer.profiler: Lightning refuses"),
        ("accelerator=tpu", "trainer.accelerator: tpu needs the package torch_xla"),
        ("sync_batchnorm=5", "trainer.sync_batchnorm"),
        ("devices=300", "trainer.devices is 300, but on this machine"),
    ],
)
def test_what_the_trainer_refuses_is_told_with_its_key(flag: str, told: str, refuse: Refuse) -> None:
    sentence = refuse("fit", *SEQUENTIAL, "--trainer.max_epochs=1", f"--trainer.{flag}")
    assert told in sentence
    assert sentence.startswith("cifar_hpc: The command line: ")


def test_an_error_of_our_own_code_is_nobody_elses() -> None:
    config = {"trainer": {"logger": {"class_path": "json.JSONDecoder"}}}
    with pytest.raises(ValueError, match="Expecting") as theirs:
        json.JSONDecoder().decode("{")
    assert refused_by(theirs.value, config) == ("trainer.logger", "json.JSONDecoder")
    with pytest.raises(AttributeError) as ours:  # raised in refusals.py, which the decoder called
        json.JSONDecoder(object_hook=lambda _: refused_by(1, {})).decode("{}")  # type: ignore[arg-type]
    assert refused_by(ours.value, config) is None


def test_what_a_step_calls_is_not_the_optimisers(command: Command) -> None:
    # With Lightning's own loop torch's optimiser calls Lightning, which calls the network and runs backward.
    flags = [
        "--trainer.kernels=stock",
        "--trainer.detect_anomaly=true",
        "--model.init_args.optimizer.init_args.lr=1e30",
    ]
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--run_dir", "run", *flags)
    assert done.status == 2
    assert "cifar_hpc: trainer.detect_anomaly ends the run" in done.err
    assert "Adam refuses" not in done.err


def test_variables_of_the_environment_set_nothing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    monkeypatch.setenv("PL_TRAINER__ACCUMULATE_GRAD_BATCHES", "2")
    monkeypatch.setenv("CIFAR_HPC_RUN_DIR", "elsewhere")
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--run_dir", "run")
    assert done.status == 0, done.err
    assert "accumulate_grad_batches: 1" in Path("run/config.yaml").read_text()
    assert Path("run/result.json").is_file()
    monkeypatch.setenv("PL_DEEPSPEED_CONFIG_PATH", "mine.json")
    refused = command("fit", *SEQUENTIAL, "--trainer.strategy=deepspeed").sentence()
    assert "PL_DEEPSPEED_CONFIG_PATH" in refused
