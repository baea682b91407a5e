"""Lightning's Trainer with one more flag, `threads`, and DeepSpeed on CPU processes too."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, get_type_hints

import torch
from jsonargparse.typing import PositiveInt
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn

from cifar_hpc.fit.checkpoint import CheckpointFile
from cifar_hpc.hpc.siblings import PATIENCE
from cifar_hpc.machine import choose_precision
from cifar_hpc.speed.kernels import FasterKernels, Kernels, NoProfiler, profiled
from cifar_hpc.speed.private_names import missing

_Precision: Any = get_type_hints(LightningTrainer.__init__)["precision"]

_STAGES = {"deepspeed": 2, "deepspeed_stage_1": 1, "deepspeed_stage_2": 2, "deepspeed_stage_3": 3}
"""Stages of ZeRO by the names that Lightning gives them."""


class ClippingPrecision(MixedPrecision):
    """Lightning's mixed precision, which also clips the gradients of fused optimisers.

    Lightning refuses to, as these undo the loss scaling of float16 within their step, behind the clipping. Nothing is
    scaled in bfloat16; in float16 the gradients are scaled back here, which torch's GradScaler notes and does once.
    """

    def clip_gradients(self, optimizer: Any, clip_val: float | int | None = 0.0, *args: Any, **kwargs: Any) -> None:
        """Clips gradients, in their own scale."""
        if clip_val and self.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            self.scaler.unscale_(optimizer)
        Precision.clip_gradients(self, optimizer, clip_val, *args, **kwargs)  # type: ignore[arg-type]


class Trainer(LightningTrainer):
    """Lightning's Trainer, with intra-op threads beside accelerator, devices, strategy and precision.

    Args:
        precision: Lightning's names, and `auto`: bf16-mixed where the processor or GPU computes bfloat16, else
            32-true.
        kernels: `ours` takes the faster ways under `cifar_hpc/speed/`, `stock` torch's and Lightning's own.
        threads: intra-op threads of each process, as `torch.set_num_threads` takes them; null leaves
            torch's own choice (one for each core) alone.
        devices: a number is read as one, which Lightning's own type takes for text on a command line.
        kwargs: see Lightning's Trainer.
    """

    def __init__(
        self,
        *,
        precision: _Precision | Literal["auto"] = None,
        kernels: Kernels = "ours",
        threads: PositiveInt | None = None,
        devices: int | str | list[int] = "auto",
        **kwargs: Any,
    ) -> None:
        if kernels == "ours" and (gone := missing()):
            rank_zero_warn(f"The installed torch or Lightning has no {gone}: kernels stock instead of ours.")
            kernels = "stock"
        if kernels == "ours" and (why := profiled(kwargs.get("profiler"))):
            rank_zero_warn(f"{why}: kernels stock instead of ours.")
            kernels = "stock"
        self.kernels, self.threads = kernels, threads
        self.processes: list[dict[str, Any]] = []  # filled by `Place` once all processes run, for the record
        # A list of its own, as Lightning adds to it.
        kwargs["callbacks"] = [*as_list(kwargs.get("callbacks"))]
        if kernels == "ours":
            kwargs["callbacks"].insert(0, FasterKernels())
            kwargs["profiler"] = NoProfiler()
        if kwargs.get("strategy") in _STAGES:
            from cifar_hpc.hpc.zero import CPUZeroStrategy, ZeroStrategy

            kind = CPUZeroStrategy if runs_on_cpu(kwargs) else ZeroStrategy
            kwargs["strategy"] = kind(stage=_STAGES[kwargs["strategy"]])
        kwargs["precision"] = choose_precision("auto", runs_on_cpu(kwargs)).name if precision == "auto" else precision
        super().__init__(devices=devices, **kwargs)
        found = self.strategy.precision_plugin
        if self.gradient_clip_val and type(found) is MixedPrecision:
            clipping = ClippingPrecision(found.precision, found.device, found.scaler)  # type: ignore[arg-type]
            self.strategy.precision_plugin = clipping
        lightnings_own = self.fit_loop.epoch_loop
        if kernels == "ours" and not missing(lightnings_own):
            # Imported here: it extends a private class.
            from cifar_hpc.speed.step_loop import StepLoop

            self.fit_loop.epoch_loop = StepLoop(self, lightnings_own.min_steps, lightnings_own.max_steps)
        if isinstance(self.strategy, DDPStrategy) and self.strategy.root_device.type == "cpu":
            self.strategy._timeout = PATIENCE
        if type(self.strategy.checkpoint_io) is TorchCheckpointIO:
            self.strategy.checkpoint_io = CheckpointFile()
        # Else Lightning takes any run with `max_steps` for one stopped amid an epoch, and ends that epoch twice.
        self.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        self._leave_signals_alone()
        # Last, because strategies set a number of their own, silently.
        if threads is not None:
            torch.set_num_threads(threads)

    def _leave_signals_alone(self) -> None:
        """Takes SIGTERM from Lightning; `cifar_hpc.hpc.ending` handles it.

        Lightning would broadcast inside the handler and, between several processes, before every step, waiting
        for the device each time.
        """
        with suppress(AttributeError):
            self._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        self.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def as_list(value: Any) -> list[Any]:
    """Makes a list of a flag that takes nothing, one thing or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def runs_on_cpu(settings: Mapping[str, Any]) -> bool:
    """Checks whether a Trainer with these settings takes the CPU."""
    accelerator = settings.get("accelerator", "auto")
    return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
