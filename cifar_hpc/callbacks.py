"""Small callbacks that every run has."""

import sys
import time

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from cifar_hpc.data.order import epoch_seed


class EpochSeed(Callback):
    """Gives each epoch a random state of its own, for dropout and the like.

    Checkpoints carry no random state; with this a run resumed after any epoch goes on as if it had never
    stopped. Each process gets a stream of its own.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds torch for the epoch that begins."""
        torch.manual_seed(epoch_seed(self.seed + (trainer.global_rank << 32), trainer.current_epoch))


class EpochLines(Callback):
    """One line an epoch, for logs that are no terminal."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's clock."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the epoch."""
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self._start
        train = pl_module.train_metrics()  # type: ignore[operator]
        test = trainer.callback_metrics.get("test/accuracy")
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: train loss {train['loss']:.4f}, "
            f"train accuracy {100 * train['accuracy']:.2f} %, "
            + (f"test accuracy {100 * float(test):.2f} %, " if test is not None else "")
            + f"{seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
