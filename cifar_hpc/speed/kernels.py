"""Installs what this package computes in a faster way of its own: the one place, and the one switch.

`--trainer.kernels ours` (the default) takes all of it, `--trainer.kernels stock` nothing: torch's own kernels and
Lightning's own loop. What is computed is the same, up to the rounding of sums in another order; a record says which it
was, so that a sceptic can compare.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from cifar_hpc.speed.epoch_callback import EpochCallback
from cifar_hpc.speed.first_convolution import keep_first_convolution_in_float32
from cifar_hpc.speed.fused import prefer_fused, spare_copies_of_gradients
from cifar_hpc.speed.pooling import keep_order_in_global_pooling
from cifar_hpc.speed.private_names import missing
from cifar_hpc.speed.small_images import use_matrix_products_on_small_images

Kernels = Literal["ours", "stock"]


class FasterKernels(EpochCallback):
    """Readies a network and its optimisers for speed; parameters and their names stay."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replaces layers by others that compute the same function."""
        install(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes fused steps, and spares them copies of gradients."""
        for optimizer in trainer.optimizers:
            if pl_module.automatic_optimization:
                prefer_fused(optimizer)
            spare_copies_of_gradients(optimizer)


_NOTHING = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Lightning's absent profiler, without the generator that it starts forty times a step."""

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Does nothing."""
        return _NOTHING


def install(network: torch.nn.Module) -> None:
    """Replaces a network's layers by faster ones, in place."""
    network.to(memory_format=torch.channels_last)  # the order in which batches arrive
    use_matrix_products_on_small_images(network)
    keep_first_convolution_in_float32(network)
    keep_order_in_global_pooling(network)


def profiled(profiler: Any) -> str:
    """Says why a profiler needs Lightning's own loop; empty where there is none."""
    return "" if profiler is None else "trainer.profiler looks at every step of Lightning's own loop"


def needs_stock(config: dict[str, Any]) -> str:
    """Says why a run cannot take the faster ways; empty where it can.

    Args:
        config: a run's whole configuration.
    """
    if gone := missing():
        return f"the installed torch or Lightning has no {gone}"
    if why := profiled(config["trainer"]["profiler"]):
        return why
    optimizer = config["model"].get("init_args", {}).get("optimizer")
    name = optimizer.get("class_path", "") if isinstance(optimizer, dict) else str(optimizer)
    if name == "torch.optim.LBFGS":
        return "torch.optim.LBFGS takes weights in torch's default order only"
    if "ModelPruning" in str(config["trainer"].get("callbacks")):
        return "ModelPruning takes weights in torch's default order only"
    return ""
