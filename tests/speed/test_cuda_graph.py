"""Steps that a CUDA graph replays are those that would be launched one by one.

On a GPU all of it runs as it is. Without one, a stand-in for the graph computes the step anew, into the same gradients
and with the settings of its recording, so that what Python does around it is tested there too.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, seed_everything
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from cifar_hpc import models
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.loaders import Batch
from cifar_hpc.fit.trainer import Trainer
from cifar_hpc.models import SmallCNN
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.speed import cuda_graph, step_loop
from cifar_hpc.speed.cuda_graph import GraphedSteps
from tests.hpc.conftest import bare_trainer

GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not GPU, reason="no GPU, so no CUDA graph was recorded")
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
STEPS = 8
REAL_RECORD = GraphedSteps._record
REPLAYED = STEPS - 2
"""Steps of an epoch that may be replayed: Lightning takes the first and the last."""


class StandIn:
    """Computes on a processor what a graph would replay: the step as it was when it was recorded."""

    def __init__(self, steps: GraphedSteps) -> None:
        self.steps = steps
        self.learns = [weight.requires_grad for weight in steps._module.parameters()]

    def replay(self) -> None:
        steps, weights = self.steps, list(self.steps._module.parameters())
        now = [weight.requires_grad for weight in weights]
        for weight, learns in zip(weights, self.learns, strict=True):
            weight.requires_grad_(learns)
        with torch.enable_grad():
            loss, logits = steps._module.training_loss(steps._batch)
            learning = [weight for weight in weights if weight.requires_grad]
            found = iter(torch.autograd.grad(loss, learning))
        for weight, gradient, learns in zip(weights, steps._gradients, now, strict=True):
            if gradient is not None:
                gradient.copy_(next(found))
            weight.requires_grad_(learns)
        steps._loss, steps._logits = loss.detach(), logits.detach()


def stand_in(self: GraphedSteps, batch: Batch) -> None:
    self._optimizer.zero_grad(set_to_none=True)
    self._batch = Batch(*(values.clone() for values in batch))
    weights = list(self._module.parameters())
    self._gradients = [torch.zeros_like(weight) if weight.requires_grad else None for weight in weights]
    self._graph = StandIn(self)  # type: ignore[assignment]
    self._ground = cuda_graph._ground(self._module)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts replayed and recorded steps; on deterministic kernels, so that equal runs are equal to the last bit."""
    counter: Counter[str] = Counter()

    def counting(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: GraphedSteps, batch: Batch) -> Any:
            counter[name] += 1
            return do(self, batch)

        return counted

    if not GPU:
        monkeypatch.setattr(cuda_graph, "_DEVICE", "cpu")
        monkeypatch.setattr(GraphedSteps, "_record", stand_in)
    for name in ("step", "_record"):
        monkeypatch.setattr(GraphedSteps, name, counting(name, getattr(GraphedSteps, name)))
    monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return counter


def trainer(folder: Path, callbacks: list[Callback], **flags: Any) -> Trainer:
    flags = {"max_epochs": 2, "limit_train_batches": STEPS, "limit_val_batches": 0} | flags
    device = {"accelerator": "gpu" if GPU else "cpu", "devices": 1, "deterministic": "warn", "benchmark": False}
    return bare_trainer(folder, callbacks, **device, **flags)


def train(folder: Path, network: Classifier, *callbacks: Callback, **flags: Any) -> list[Tensor]:
    """Trains two epochs of a few steps; returns metrics, weights, buffers and the state of the optimiser."""
    data = flags.pop("data", None) or CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1)
    its = trainer(folder, list(callbacks), **flags)
    seed_everything(2, verbose=False)
    its.fit(network, datamodule=data)
    state = its.optimizers[0].state_dict()["state"].values()
    metrics = torch.tensor([its.callback_metrics["train/loss"], its.callback_metrics["train/accuracy"]])
    tensors = [*network.state_dict().values(), *(v for each in state for v in each.values() if isinstance(v, Tensor))]
    return [metrics, *(tensor.detach().cpu().double() for tensor in tensors)]


def make(name: str = "SmallCNN", **settings: Any) -> Classifier:
    seed_everything(1, verbose=False)
    network: Classifier = getattr(models, name)(**NETWORKS[name] | settings)
    return network


def off(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest distance of two tensors, relative to the first's norm."""
    return max(
        float((one - other).norm() / one.norm().clamp(min=1e-9)) for one, other in zip(first, second, strict=True)
    )


def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_loop, "can_replay", lambda *arguments: False)


@pytest.mark.skipif(GPU, reason="this machine has a GPU")
def test_a_processor_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphedSteps, "__init__", None)
    train(tmp_path, make())


@needs_gpu
@pytest.mark.filterwarnings("ignore:.*deterministic")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_equal_to_the_last_bit(
    name: str, precision: str, replays: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = train(tmp_path, make(name), precision=precision)
    assert replays == {"step": 2 * REPLAYED, "_record": 1}
    launched(monkeypatch)
    assert off(train(tmp_path, make(name), precision=precision), replayed) == 0


class OfOtherSizes(LightningDataModule):
    """Anybody's batches, of which one is smaller than the others."""

    def train_dataloader(self) -> Any:
        draw = torch.Generator().manual_seed(1)
        batches = [
            (torch.randn(size, 3, 32, 32, generator=draw), torch.randint(10, (size,), generator=draw))
            for size in (8, 8, 8, 4, 8, 8, 8, 8)
        ]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Twice(SGD):
    """Asks for gradients twice a step, the second time elsewhere, as sharpness-aware optimisers do."""

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight in weights:
                weight += 0.05 * weight.grad
            self.zero_grad()
        closure()
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
        super().step()
        return loss


def hooked(parameters: Any) -> SGD:
    """Has a hook that looks at the gradients before a step, when there are none yet."""
    optimizer = SGD(parameters, lr=0.05)

    def scale(optimizer: Any, *arguments: Any) -> None:
        for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
            weight.grad = None if weight.grad is None else weight.grad * 0

    optimizer.register_step_pre_hook(scale)
    return optimizer


SETTINGS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "momentum": {"optimizer": partial(SGD, lr=0.05, momentum=0.9)},
    "rate of each epoch": {"scheduler": partial(StepLR, step_size=1, gamma=0.1)},
    "two closures": {"optimizer": partial(Twice, lr=0.05)},
    "hook before steps": {"optimizer": hooked},
}


@pytest.mark.parametrize("sizes", ["alike", "other"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_steps_are_those_that_are_launched(
    settings: str, sizes: str, replays: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = None if sizes == "alike" else OfOtherSizes()
    replayed = train(tmp_path, make(**SETTINGS[settings]), data=data)
    assert replays == {"step": 2 * (REPLAYED - (sizes == "other")), "_record": 1}
    launched(monkeypatch)
    assert off(train(tmp_path, make(**SETTINGS[settings]), data=data), replayed) < 1e-6


class AtTheSecondEpoch(Callback):
    """Changes something about the run when its second epoch starts."""

    def __init__(self, change: Callable[[Any, Any], Any]) -> None:
        self.change = change

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            self.change(trainer, pl_module)


def other_optimizer(trainer: Any, network: Any) -> None:
    trainer.strategy.optimizers = [SGD(network.parameters(), lr=0.001)]


CHANGES: dict[str, tuple[Callable[[Any, Any], Any], int, int]] = {
    "nothing": (lambda trainer, network: None, 1, 2),
    "a frozen layer": (lambda trainer, network: network.conv1.requires_grad_(False), 2, 2),
    "another optimiser": (other_optimizer, 2, 2),
    "a setting of a layer": (lambda trainer, network: setattr(network.conv1, "padding", (0, 0)), 1, 2),
    "another setting of a layer": (lambda trainer, network: setattr(network.conv1, "stride", (2, 1)), 2, 2),
    "a hook": (lambda trainer, network: network.conv2.register_forward_hook(lambda *arguments: None), 1, 1),
    "a weight's hook": (lambda trainer, network: network.conv2.weight.register_hook(lambda gradient: None), 1, 1),
    "a method": (lambda trainer, network: setattr(network, "forward", network.forward), 1, 1),
}
"""What changes, how often a step is recorded then, and in how many epochs some are replayed."""


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_epochs_is_recorded_anew_or_launched(
    change: str, replays: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do, records, epochs = CHANGES[change]
    if "setting" in change:  # two convolutions follow, whatever the first one makes of an image
        monkeypatch.setattr(models.SmallCNN, "training_loss", loss_of_the_first_layer)
    replayed = train(tmp_path, make(), AtTheSecondEpoch(do))
    assert replays == {"step": epochs * REPLAYED, "_record": records}
    launched(monkeypatch)
    assert off(train(tmp_path, make(), AtTheSecondEpoch(do)), replayed) < 1e-6


def loss_of_the_first_layer(network: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    logits = network.conv1(batch.images).mean((2, 3))[:, :10]
    others = sum(weight.sum() for weight in network.parameters()) * 0
    return nn.functional.cross_entropy(logits, batch.labels) + others, logits


def test_a_hook_on_all_layers_is_called(replays: Counter[str], tmp_path: Path) -> None:
    calls: Counter[str] = Counter()
    handle = nn.modules.module.register_module_forward_hook(lambda *arguments: calls.update(["hook"]))
    try:
        train(tmp_path, make())
    finally:
        handle.remove()
    assert not replays
    assert calls["hook"] > STEPS


def test_a_callback_of_others_between_steps_is_obeyed(replays: Counter[str], tmp_path: Path) -> None:
    class Freeze(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                pl_module.conv1.requires_grad_(False)
                self.kept = pl_module.conv1.weight.detach().clone()

    network, freeze = make(), Freeze()
    train(tmp_path, network, freeze, max_epochs=1)
    assert not replays
    assert torch.equal(freeze.kept.cpu(), network.conv1.weight.cpu())  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("place", ["forward", "training_step"])
def test_a_network_of_others_is_launched(place: str, replays: Counter[str], tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def counted(self: Any, *arguments: Any) -> Any:
        calls[place] += 1
        return getattr(SmallCNN, place)(self, *arguments)

    train(tmp_path, type("Own", (SmallCNN,), {place: counted})())
    assert calls[place] == 2 * STEPS
    assert not replays


def test_a_second_fit_of_a_trainer_has_a_graph_of_its_own(replays: Counter[str], tmp_path: Path) -> None:
    its = trainer(tmp_path, [], max_epochs=1)
    for epochs in (1, 2):
        its.fit_loop.max_epochs = epochs
        its.fit(make(), datamodule=CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1))
        assert its.fit_loop.epoch_loop._graphed is None  # its memory is free again
    assert replays == {"step": 2 * REPLAYED, "_record": 2}


@pytest.mark.parametrize("name", ["SmallCNN", "AlexNet"])
def test_where_nothing_can_be_recorded_steps_are_launched(
    name: str, replays: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(self: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, logits = Classifier.training_loss(self, batch)
        return loss * float(loss > -1), logits  # asks the GPU, which a graph must not

    monkeypatch.setattr(getattr(models, name), "training_loss", waits)
    if not GPU:
        monkeypatch.setattr(GraphedSteps, "_record", REAL_RECORD)  # which finds no GPU
    steps = 4  # AlexNet's dropout draws from what the recording had in hand
    with pytest.warns(UserWarning, match="No CUDA graph"):
        replayed = train(tmp_path, make(name), limit_train_batches=steps, max_epochs=1)
    assert not replays["step"]
    launched(monkeypatch)
    assert off(train(tmp_path, make(name), limit_train_batches=steps, max_epochs=1), replayed) == 0
