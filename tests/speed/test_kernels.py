"""One switch for all that is faster: every network computes the same with it and without."""

import ast
import copy
import functools
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cifar_hpc
from cifar_hpc import models
from cifar_hpc.data.sample import load_sample
from cifar_hpc.fit.trainer import Trainer
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.speed.fused import DirectAdam
from cifar_hpc.speed.kernels import install, needs_stock
from cifar_hpc.speed.private_names import ELSEWHERE, LOOP_ATTRIBUTES, PRIVATE_NAMES
from cifar_hpc.speed.step_loop import StepLoop
from tests.conftest import SEQUENTIAL, SMOKE, Fit, record, weights

NETWORKS = [name for name in models.__all__ if name not in ("Classifier", "Airbench")]


def with_each_switch(name: str) -> list[tuple[str, dict[str, bool]]]:
    """A network as it is, and with each of its switches the other way."""
    switches = [
        {key: not option.default}
        for key, option in inspect.signature(getattr(models, name)).parameters.items()
        if isinstance(option.default, bool)
    ]
    return [(name, settings) for settings in ({}, *switches)]


def loss_and_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)  # dropout's
    logits = network(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("name", "settings"), [case for name in NETWORKS for case in with_each_switch(name)])
def test_every_network_computes_the_same_both_ways(name: str, settings: dict[str, bool]) -> None:
    torch.manual_seed(0)
    stock: Classifier = getattr(models, name)(**settings)
    stock.double()  # in which another order of additions shows no more, and another function does
    ours = copy.deepcopy(stock)
    install(ours)
    sample = load_sample("cifar10")
    images = torch.from_numpy(sample.train_images[:4]).permute(0, 3, 1, 2).double() / 255
    labels = torch.from_numpy(sample.train_labels[:4]).long()
    expected, gradients = loss_and_gradients(stock, images, labels)
    found, others = loss_and_gradients(ours, images.contiguous(memory_format=torch.channels_last), labels)
    assert torch.allclose(found, expected, rtol=1e-9)
    assert gradients.keys() == others.keys()
    for key, gradient in gradients.items():
        # Of a part in a billion of the largest; a bias before batch norm has a gradient of rounding alone.
        assert (others[key] - gradient).abs().max() <= 1e-9 * max(1.0, float(gradient.abs().max())), key
    assert list(ours.state_dict()) == list(stock.state_dict())


def test_the_switch_turns_everything_off_and_is_recorded(fit_here: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["--trainer.limit_train_batches=6", "--run_dir"]
    fit_here(*SEQUENTIAL, *SMOKE, *steps, "ours")
    assert record(Path("ours"))["engine"] == {"kernels": "ours"}

    def never(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("the run was to take torch's and Lightning's own ways")

    monkeypatch.setattr(StepLoop, "advance", never)
    monkeypatch.setattr(DirectAdam, "__init__", never)
    for name in ("kernels.install", "kernels.spare_copies_of_gradients"):
        monkeypatch.setattr(f"cifar_hpc.speed.{name}", never)
    monkeypatch.setattr("cifar_hpc.fit.training.keep_memory", never)
    fit_here(*SEQUENTIAL, *SMOKE, "--trainer.kernels=stock", *steps, "stock")
    found = record(Path("stock"))
    assert found["engine"] == {"kernels": "stock"}
    assert found["changed_from_row"] == record(Path("ours"))["changed_from_row"]  # no other experiment
    for point, other in zip(record(Path("ours"))["curve"], found["curve"], strict=True):
        assert point["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
    for key, value in weights(Path("ours"), 1).items():
        # Adam divides tiny gradients by themselves: where one is rounding alone, six steps of 0.001 may part.
        assert (value - weights(Path("stock"), 1)[key]).abs().max() <= 6 * 2 * 0.001, key


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--trainer.profiler=simple"], "trainer.profiler looks at every step of Lightning's own loop"),
        (
            ["--model.init_args.optimizer=torch.optim.LBFGS", "--model.init_args.optimizer.init_args.lr=0.1"],
            "torch.optim.LBFGS takes weights in torch's default order only",
        ),
    ],
    ids=["profiler", "LBFGS"],
)
def test_what_needs_the_stock_ways_gets_them_with_a_word(
    flags: list[str], why: str, fit_here: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_here(*SEQUENTIAL, *SMOKE, "--trainer.limit_train_batches=2", *flags, "--run_dir", "run")
    assert record(Path("run"))["engine"] == {"kernels": "stock"}
    assert f"; kernels stock: {why}" in capsys.readouterr().err


def test_the_trainer_itself_has_the_switch() -> None:
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    assert isinstance(Trainer(**settings).fit_loop.epoch_loop, StepLoop)
    assert not isinstance(Trainer(kernels="stock", **settings).fit_loop.epoch_loop, StepLoop)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_private_name_that_is_gone_costs_speed_and_not_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, path = name.partition(":")
    *holders, last = path.split(".")
    holder = functools.reduce(getattr, holders, importlib.import_module(module))
    monkeypatch.delattr(holder, last)
    why = f"the installed torch or Lightning has no {name.replace(':', '.')}"
    assert needs_stock({"trainer": {"profiler": None}, "model": {}}) == why
    with pytest.warns(UserWarning, match="kernels stock instead of ours"):
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert trainer.kernels == "stock"
    assert not isinstance(trainer.fit_loop.epoch_loop, StepLoop)


def private(names: Iterable[str]) -> set[str]:
    return {part for name in names for part in name.split(".") if re.match("_(?!_)", part)}


def test_every_private_name_of_others_is_listed() -> None:
    """Found in the code: attributes and imports that begin with an underscore, but for the package's own."""
    own, used = set(), set()
    for path in Path(cifar_hpc.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.FunctionDef(name) | ast.ClassDef(name) | ast.Name(name, ast.Store()):
                    own.add(name)
                case ast.Attribute(ast.Name("self"), name, ast.Store()):
                    own.add(name)
                case ast.Attribute(_, name):
                    used.add(name)
                case ast.Call(ast.Name("getattr" | "hasattr"), [_, ast.Constant(str(name)), *_]):
                    used.add(name)
                case ast.ImportFrom(module, names):
                    used |= {str(module), *(alias.name for alias in names)}
    listed = {part for name in PRIVATE_NAMES for part in re.split("[:.]", name)} | set(LOOP_ATTRIBUTES) | set(ELSEWHERE)
    listed |= {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"}  # made by an optimiser's __init__
    assert private(used) - own - {"_exit"} <= listed  # os._exit, which Python documents
    assert set(ELSEWHERE) <= used | own


def test_a_trainer_whose_signals_lie_elsewhere_is_left_alone() -> None:
    loop = SimpleNamespace()
    Trainer._leave_signals_alone(SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=loop)))  # type: ignore[arg-type]
    assert loop._broadcast_sigterm_tensor() is None
