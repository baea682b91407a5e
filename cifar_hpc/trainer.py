"""Lightning's Trainer with one more flag, `threads`."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.profilers import PassThroughProfiler

from cifar_hpc.hpc.step_loop import StepLoop


class NoProfiler(PassThroughProfiler):
    """Lightning's absent profiler, without the generator that it starts forty times a step."""

    _NOTHING = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Does nothing."""
        return self._NOTHING


class Trainer(LightningTrainer):
    """Lightning's Trainer, with intra-op threads beside accelerator, devices, strategy and precision.

    Args:
        threads: intra-op threads of each process, as `torch.set_num_threads` takes them; null leaves
            torch's own choice (one for each core) alone.
        kwargs: see Lightning's Trainer.
    """

    def __init__(self, *, threads: PositiveInt | None = None, **kwargs: Any) -> None:
        self.threads = threads
        if kwargs.get("profiler") is None:
            kwargs["profiler"] = NoProfiler()
        super().__init__(**kwargs)
        lightnings_own = self.fit_loop.epoch_loop
        self.fit_loop.epoch_loop = StepLoop(self, lightnings_own.min_steps, lightnings_own.max_steps)
        # Last, because strategies set a number of their own, silently.
        if threads is not None:
            torch.set_num_threads(threads)
