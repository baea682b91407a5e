"""A training step's forward and backward pass as one CUDA graph, replayed for each batch.

A GPU computes a step of a small network sooner than Python can launch its kernels one by one. A CUDA graph launches all
of them at once. The kernels are those of the step that was recorded, on the same weights, so the results are the same;
only Python's part is left out, and with it whatever a network decides there: networks of this package decide nothing.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar_hpc.data.loaders import Batch
from cifar_hpc.models.classifier import Classifier

_OURS = "cifar_hpc.models."

_HOOKS_OF_LAYERS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_OF_WEIGHTS = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Where torch keeps what somebody had it call around a layer or with a gradient, which a graph would not call."""


class GraphedSteps:
    """Takes steps by a graph that is recorded from the first of them, and again when what it would run on has changed.

    Args:
        precision: Lightning's precision plugin, which opens autocast where there is one.
        module: the network.
        optimizer: its optimiser, after its first step.
    """

    def __init__(self, precision: Any, module: Classifier, optimizer: Optimizer) -> None:
        self._precision = precision
        self._module = module
        self._optimizer = optimizer
        self._graph: torch.cuda.CUDAGraph | None = None
        self._ground: tuple[Any, ...] = ()
        self._refused = False
        self._batch: Batch
        self._loss: Tensor
        self._logits: Tensor
        self._gradients: list[Tensor | None] = []

    def start_epoch(self) -> None:
        """Puts the graph's gradients back where the optimiser looks, and forgets the graph where the ground moved."""
        if self._graph is None:
            return
        if self._ground != _ground(self._module):
            self._graph = None
            return
        for weight, gradient in zip(self._module.parameters(), self._gradients, strict=True):
            weight.grad = gradient

    def takes(self, batch: Batch) -> bool:
        """Checks whether a batch's step can be replayed, and records the graph where there is none."""
        if self._graph is None and not self._refused:
            try:
                self._record(batch)
            except RuntimeError as error:
                self._refused = True
                self._optimizer.zero_grad(set_to_none=True)
                rank_zero_warn(f"No CUDA graph of a training step, so its kernels are launched one by one: {error}")
        return self._graph is not None and batch.images.shape == self._batch.images.shape

    def step(self, batch: Batch) -> Tensor:
        """Takes one step of the optimiser by the graph, and returns the loss of a batch that it `takes`."""
        assert self._graph is not None
        for place, values in zip(self._batch, batch, strict=True):
            place.copy_(values)
        self._graph.replay()
        # The next replay overwrites both.
        loss = self._loss.clone()
        self._module.count_step(loss, self._logits.clone(), batch.labels)
        self._optimizer.step()
        return loss

    def _record(self, batch: Batch) -> None:
        """Records forward and backward pass; nothing is computed, so that no batch is learnt twice."""
        self._optimizer.zero_grad(set_to_none=True)
        self._batch = Batch(*(values.clone() for values in batch))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            with self._precision.train_step_context():
                loss, logits = self._module.training_loss(self._batch)
            loss.backward()
        self._graph, self._loss, self._logits = graph, loss.detach(), logits.detach()
        # There were none when it was recorded, so each replay writes them anew and adds nothing to them.
        self._gradients = [weight.grad for weight in self._module.parameters()]
        self._ground = _ground(self._module)


def graphed_steps(precision: Any, module: LightningModule, optimizer: Any) -> GraphedSteps | None:
    """Makes steps by a graph where a network can take them; None where it cannot.

    Args:
        precision: Lightning's precision plugin.
        module: the network, after its first step.
        optimizer: its optimiser.
    """
    plain = type(module).__module__.startswith(_OURS) and type(module).training_step is Classifier.training_step
    if module.device.type != "cuda" or not plain or torch.is_anomaly_enabled():
        return None
    # A name that torch no longer has may hide hooks, so it counts as one.
    if any(getattr(layer, hooks, True) for layer in module.modules() for hooks in _HOOKS_OF_LAYERS):
        return None
    if any(getattr(weight, hooks, True) for weight in module.parameters() for hooks in _HOOKS_OF_WEIGHTS):
        return None
    assert isinstance(module, Classifier)
    return GraphedSteps(precision, module, optimizer)


def _ground(module: nn.Module) -> tuple[Any, ...]:
    """Lists what a graph relies on: where weights and buffers lie, which of them learn, which layers train."""

    def facts() -> Iterator[Any]:
        for tensor in chain(module.parameters(), module.buffers()):
            yield tensor.data_ptr(), tensor.requires_grad
        for layer in module.modules():
            yield layer.training

    return tuple(facts())
