"""A training step's forward and backward pass as one CUDA graph, replayed for each batch.

A GPU computes a step of a small network sooner than Python can launch its kernels one by one. A CUDA graph launches all
of them at once. The kernels are those of the step that was recorded, on the same weights, so the results are the same;
only Python's part is left out, and with it whatever would be decided there: networks of this package decide nothing,
and where anybody else might have a say, steps are launched one by one.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar_hpc.data.loaders import Batch
from cifar_hpc.models.classifier import Classifier

_DEVICE = "cuda"
_OURS = "cifar_hpc."
_KNOWN = (_OURS, "lightning.pytorch.callbacks.")
"""Whose callbacks change no network between two steps of an epoch, but for its weights' values."""

_METHODS = ("training_step", "training_loss", "count_step", "forward")
"""Methods of a network of which an instance may have been given one of its own."""

_HOOKS_OF_LAYERS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_OF_ALL_LAYERS = tuple(f"_global{name}" for name in _HOOKS_OF_LAYERS)
_HOOKS_OF_WEIGHTS = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Where torch keeps what somebody had it call around a layer or with a gradient, which a graph would not call."""


class GraphedSteps:
    """Takes steps by a graph that is recorded from the first of them, and again when what it runs on has changed.

    Args:
        precision: Lightning's precision plugin, which opens autocast where there is one.
        module: the network.
        optimizer: its optimiser, after its first step.
    """

    def __init__(self, precision: Any, module: Classifier, optimizer: Optimizer) -> None:
        self._precision = precision
        self._module = module
        self._optimizer = optimizer
        self._refused = False
        self._ground: tuple[Any, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch
        self._loss: Tensor
        self._logits: Tensor
        self._gradients: list[Tensor | None] = []

    def fits(self, module: LightningModule, optimizer: Any) -> bool:
        """Checks whether this is of a network and its optimiser, and still runs on what it was recorded on."""
        same = self._module is module and self._optimizer is optimizer
        return same and (self._graph is None or self._ground == _ground(module))

    def takes(self, batch: Batch) -> bool:
        """Checks whether a batch's step can be replayed, and records the graph where there is none."""
        if self._graph is None and not self._refused:
            try:
                self._record(batch)
            except Exception as error:  # whatever it is, launched one by one the same kernels run
                self._refused = True
                self._optimizer.zero_grad()
                rank_zero_warn(f"No CUDA graph of a training step, so its kernels are launched one by one: {error}")
        return self._graph is not None and _shapes(batch) == _shapes(self._batch)

    def step(self, batch: Batch) -> Tensor:
        """Takes one step of the optimiser by the graph, and returns the loss of a batch that it `takes`."""
        step: Any = self._optimizer.step  # torch's types have a loss be a float
        loss: Tensor = step(lambda: self._replay(batch))
        return loss

    def _replay(self, batch: Batch) -> Tensor:
        """Leaves the gradients of a batch behind, as a closure for an optimiser does, and returns its loss."""
        assert self._graph is not None
        for place, values in zip(self._batch, batch, strict=True):
            place.copy_(values)
        self._graph.replay()
        # A step that was launched, or an optimiser, may have put others in their place.
        for weight, gradient in zip(self._module.parameters(), self._gradients, strict=True):
            weight.grad = gradient
        # The next replay overwrites both.
        loss = self._loss.clone()
        self._module.count_step(loss, self._logits.clone(), batch.labels)
        return loss

    def _record(self, batch: Batch) -> None:
        """Records forward and backward pass; nothing is computed, so that no batch is learnt twice."""
        self._optimizer.zero_grad()
        self._batch = Batch(*(values.clone() for values in batch))
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[batch.images.device.index or 0]
        untouched = generator.clone_state()
        try:
            # The outer context comes back to this stream however the recording ends; other threads, such as one that
            # pins memory for a loader, may call CUDA meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                with self._precision.train_step_context():
                    loss, logits = self._module.training_loss(self._batch)
                loss.backward()
        except RuntimeError:
            generator.graphsafe_set_state(untouched)  # else it waits for the recording's end, and dropout fails
            raise
        self._graph, self._loss, self._logits = graph, loss.detach(), logits.detach()
        # There were none when it was recorded, so each replay writes them anew and adds nothing to them.
        self._gradients = [weight.grad for weight in self._module.parameters()]
        self._ground = _ground(self._module)


def can_replay(module: LightningModule, callbacks: Iterable[Callback]) -> bool:
    """Checks whether a network's steps can be replayed: on a GPU, and nobody has a say in them but this package.

    Args:
        module: the network.
        callbacks: those that are called between steps.
    """
    ours = type(module).__module__.startswith(f"{_OURS}models.") and not any(name in vars(module) for name in _METHODS)
    if module.device.type != _DEVICE or not ours or type(module).training_step is not Classifier.training_step:
        return False
    if torch.is_anomaly_enabled() or not all(type(each).__module__.startswith(_KNOWN) for each in callbacks):
        return False
    # A name that torch no longer has may hide hooks, so it counts as one.
    hooks = chain(
        (getattr(nn.modules.module, name, True) for name in _HOOKS_OF_ALL_LAYERS),
        (getattr(layer, name, True) for layer in module.modules() for name in _HOOKS_OF_LAYERS),
        (getattr(weight, name, True) for weight in module.parameters() for name in _HOOKS_OF_WEIGHTS),
    )
    return not any(hooks)


def _shapes(batch: Batch) -> list[tuple[torch.Size, torch.dtype]]:
    return [(values.shape, values.dtype) for values in batch]


def _ground(module: nn.Module) -> tuple[Any, ...]:
    """Lists what a graph relies on: where weights and buffers lie, which of them learn, and the layers' settings."""

    def facts() -> Iterator[Any]:
        for tensor in chain(module.parameters(), module.buffers()):
            yield tensor.data_ptr(), tensor.requires_grad
        for layer in module.modules():
            yield type(layer)
            for name, value in vars(layer).items():
                if not name.startswith("_") and isinstance(value, bool | int | float | str | tuple):
                    yield name, value

    return tuple(facts())
