"""Steps that a CUDA graph replays are those that would be launched one by one; needs a GPU, but for the first test."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import Tensor, nn

from cifar_hpc import models
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.loaders import Batch
from cifar_hpc.models import SmallCNN
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.speed import step_loop
from cifar_hpc.speed.cuda_graph import GraphedSteps, graphed_steps
from tests.hpc.conftest import bare_trainer

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU, so no CUDA graph was tested")
NETWORKS: dict[str, dict[str, Any]] = {
    "SmallCNN": {},
    "ResNet18": {"stem": "imagenet"},
    "ResNet50": {"stem": "imagenet"},
    "VGG16": {},
    "AlexNet": {},
    "GoogLeNet": {"auxiliary": True},
    "PlainMiniXception": {},
    "SeparableMiniXception": {},
}
_STEPS = 8


class HookOnce(Callback):
    """Hooks a layer, as those who look at activations do."""

    def __init__(self) -> None:
        self.calls = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        next(pl_module.children()).register_forward_hook(self.count)

    def count(self, *arguments: Any) -> None:
        self.calls += 1


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts replayed and recorded steps; on deterministic kernels, so that equal runs are equal to the last bit."""
    counter: Counter[str] = Counter()

    def counting(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: GraphedSteps, batch: Batch) -> Any:
            counter[name] += 1
            return do(self, batch)

        return counted

    for name in ("step", "_record"):
        monkeypatch.setattr(GraphedSteps, name, counting(name, getattr(GraphedSteps, name)))
    monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return counter


def train(folder: Path, network: Classifier, callbacks: list[Callback], **flags: Any) -> list[Tensor]:
    """Trains two epochs of a few steps on the GPU; returns weights, buffers and the state of the optimiser."""
    seed_everything(2, verbose=False)
    trainer = bare_trainer(
        folder, callbacks, accelerator="gpu", devices=1, max_epochs=2, limit_train_batches=_STEPS, limit_val_batches=0,
        deterministic="warn", benchmark=False, **flags,
    )  # fmt: skip
    trainer.fit(network, datamodule=CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1))
    state = trainer.optimizers[0].state_dict()["state"].values()
    losses = torch.tensor([trainer.callback_metrics["train/loss"], trainer.callback_metrics["train/accuracy"]])
    tensors = [*network.state_dict().values(), *(v for each in state for v in each.values() if isinstance(v, Tensor))]
    return [losses, *(tensor.cpu().double() for tensor in tensors)]


def make(name: str) -> Classifier:
    seed_everything(1, verbose=False)
    network: Classifier = getattr(models, name)(**NETWORKS[name])
    return network


def off(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest distance of two tensors, relative to the first's norm."""
    return max(
        float((one - other).norm() / one.norm().clamp(min=1e-9)) for one, other in zip(first, second, strict=True)
    )


def test_a_processor_launches_nothing() -> None:
    network = SmallCNN()
    assert graphed_steps(None, network, torch.optim.SGD(network.parameters())) is None


@needs_gpu
@pytest.mark.filterwarnings("ignore:.*deterministic")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_replayed_steps_are_those_launched_one_by_one(
    name: str, precision: str, replays: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = train(tmp_path, make(name), [], precision=precision)
    assert replays == {"step": 2 * (_STEPS - 2), "_record": 1}
    monkeypatch.setattr(step_loop, "graphed_steps", lambda *arguments: None)
    launched, again = (train(tmp_path, make(name), [], precision=precision) for _ in range(2))
    print(f"{name} {precision}: replayed {off(launched, replayed):.3g}, launched again {off(launched, again):.3g} off")
    # Where torch has no deterministic kernel, two runs differ as well.
    assert off(launched, replayed) <= 10 * off(launched, again)


@needs_gpu
def test_the_optimiser_may_change_its_rate(replays: Counter[str], tmp_path: Path) -> None:
    network = SmallCNN(scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.0))
    after_one = []

    class Keep(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            after_one.append([weight.detach().clone() for weight in pl_module.parameters()])

    train(tmp_path, network, [Keep()], precision="32-true")
    assert replays["step"] == 2 * (_STEPS - 2)
    assert all(torch.equal(one, other) for one, other in zip(*after_one, strict=True))


@needs_gpu
def test_a_layer_that_stops_learning_is_recorded_anew(replays: Counter[str], tmp_path: Path) -> None:
    class Freeze(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 0:
                self.kept = pl_module.conv1.weight.detach().clone()
                pl_module.conv1.requires_grad_(False)

    freeze = Freeze()
    network = make("SmallCNN")
    train(tmp_path, network, [freeze], precision="32-true")
    assert replays["_record"] == 2
    assert torch.equal(freeze.kept.cpu(), network.conv1.weight.cpu())  # type: ignore[union-attr, arg-type]


@needs_gpu
@pytest.mark.parametrize("place", ["hook", "network of others", "step of others"])
def test_what_python_does_in_a_step_is_done_in_each(place: str, replays: Counter[str], tmp_path: Path) -> None:
    hook = HookOnce()

    class OwnNetwork(SmallCNN):
        def forward(self, images: Tensor) -> Tensor:
            hook.calls += 1
            return super().forward(images)

    class OwnStep(SmallCNN):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            hook.calls += 1
            return super().training_step(batch, batch_idx)

    network = {"hook": SmallCNN, "network of others": OwnNetwork, "step of others": OwnStep}[place]()
    train(tmp_path, network, [hook] if place == "hook" else [], precision="32-true")
    assert hook.calls == 2 * _STEPS
    assert not replays


@needs_gpu
def test_where_nothing_can_be_recorded_steps_are_launched(replays: Counter[str], tmp_path: Path) -> None:
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.max() > -1)  # asks the GPU, which a graph must not

    network = make("SmallCNN")
    network.output = nn.Sequential(Waits(), network.output)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="No CUDA graph"):
        train(tmp_path, network, [], precision="32-true")
    assert replays == {"_record": 1}
