"""The short way from step to step ends where Lightning's own does."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything

from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.loaders import Batch
from cifar_hpc.models import SmallCNN
from cifar_hpc.speed import step_loop
from cifar_hpc.speed.step_loop import StepLoop
from tests.hpc.conftest import bare_trainer


class CountSteps(Callback):
    """Listens around steps, which the short way serves too."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.calls.append(("start", batch_idx, trainer.global_step))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        assert outputs["loss"].requires_grad is False
        self.calls.append(("end", batch_idx, trainer.global_step))


class LookAtGradients(Callback):
    """Listens within steps, which only Lightning serves."""

    def __init__(self) -> None:
        self.calls = 0

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.calls += 1


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the steps that go the short way."""
    counter: Counter[str] = Counter()
    take_step = step_loop._take_step

    def counted(*arguments: Any) -> Any:
        counter["steps"] += 1
        return take_step(*arguments)

    monkeypatch.setattr(step_loop, "_take_step", counted)
    return counter


def train(
    folder: Path, callbacks: list[Callback], fused: bool = False, **flags: Any
) -> tuple[list[tuple[str, int, int]], dict[str, Any]]:
    """Two epochs on the sample; what a callback saw, and the last checkpoint."""
    seed_everything(1, verbose=False)
    seen = CountSteps()
    trainer = bare_trainer(folder, [seen, *callbacks], max_epochs=2, **flags)
    network = SmallCNN(optimizer=partial(torch.optim.Adam, fused=fused))
    trainer.fit(network, datamodule=CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1))
    trainer.save_checkpoint(folder / "last.ckpt")
    return seen.calls, torch.load(folder / "last.ckpt", weights_only=False)


def assert_same(first: Any, second: Any) -> None:
    """Equal to the last bit, whatever the nesting."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_short_way_ends_where_lightnings_own_does(
    precision: str, fused: bool, short_steps: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, checkpoint = train(tmp_path, [], fused, precision=precision)
    steps = checkpoint["global_step"] // 2
    assert short_steps["steps"] == 2 * (steps - 2)
    monkeypatch.setattr(StepLoop, "_nothing_listens", lambda self, data_fetcher: False)
    calls_of_lightning, of_lightning = train(tmp_path, [], fused, precision=precision)
    assert short_steps["steps"] == 2 * (steps - 2)
    assert calls == calls_of_lightning
    for part in ("state_dict", "optimizer_states", "loops", "epoch", "global_step"):
        assert_same(checkpoint[part], of_lightning[part])


@pytest.mark.parametrize(
    "flags",
    [{"gradient_clip_val": 0.1}, {"accumulate_grad_batches": 2}, {"max_steps": 5}, {"val_check_interval": 5}],
    ids=lambda flags: next(iter(flags)),
)
def test_what_the_short_way_leaves_out_is_lightnings(
    flags: dict[str, Any], short_steps: Counter[str], tmp_path: Path
) -> None:
    train(tmp_path, [], **flags)
    assert short_steps["steps"] == 0


def test_what_a_step_logs_is_logged(short_steps: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training_step = SmallCNN.training_step

    def logging_step(self: SmallCNN, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = training_step(self, batch, batch_idx)
        self.log("loss of a step", loss)
        return loss

    monkeypatch.setattr(SmallCNN, "training_step", logging_step)
    train(tmp_path, [])
    assert short_steps["steps"] == 0


def test_hooks_within_a_step_are_called(short_steps: Counter[str], tmp_path: Path) -> None:
    look = LookAtGradients()
    _, checkpoint = train(tmp_path, [look])
    assert short_steps["steps"] == 0
    assert look.calls == checkpoint["global_step"]
