"""Small callbacks that every run has."""

import sys
from typing import Any

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from cifar_hpc.collection.convergence import is_flat
from cifar_hpc.data.order import epoch_seed
from cifar_hpc.fit.checkpoint import is_whole_epoch
from cifar_hpc.machine import Precision, usable_cores
from cifar_hpc.output import tell
from cifar_hpc.speed.epoch_callback import EpochCallback


class EpochSeed(EpochCallback):
    """Gives each epoch a random state of its own, for dropout and the like.

    Checkpoints carry no random state; with this a run resumed after any epoch goes on as if it had never
    stopped. Each process gets a stream of its own.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds torch for the epoch that begins."""
        torch.manual_seed(epoch_seed(self.seed + (trainer.global_rank << 32), trainer.current_epoch))


class Converged(EpochCallback):
    """Ends a run once its training accuracy has become flat, for rows whose report trains "to convergence".

    See `cifar_hpc.collection.convergence.is_flat`. The accuracies travel in the checkpoints, so that a resumed run ends
    with the same epoch.

    Args:
        points: the rise, in percentage points, below which the curve is flat.
        epochs: number of epochs that must have passed without such a rise.
        at_least: number of epochs that are trained in any case.
    """

    def __init__(self, points: float, epochs: PositiveInt, at_least: PositiveInt) -> None:
        self.points, self.epochs, self.at_least = points, epochs, at_least
        self.accuracies: list[float] = []

    @property
    def holds(self) -> bool:
        """Whether the curve is flat."""
        return is_flat(self.accuracies, self.points, self.epochs, self.at_least)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Trains no further where the run was stopped between its last epoch and the test."""
        trainer.should_stop = trainer.should_stop or self.holds

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the curve with the epoch that has ended, if it was a whole one."""
        if not is_whole_epoch(trainer):
            return
        self.accuracies.append(pl_module.train_metrics()["accuracy"])  # type: ignore[operator]
        trainer.should_stop = trainer.should_stop or self.holds

    def state_dict(self) -> dict[str, Any]:
        """Returns the curve so far."""
        return {"accuracies": list(self.accuracies)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the curve where the checkpoint was written."""
        self.accuracies = list(state_dict["accuracies"])


class CurvePoints(EpochCallback):
    """Keeps from all loggers what is no point of a curve: an evaluation amid an epoch, an epoch cut short, the test."""

    def __init__(self) -> None:
        self._loggers: list[Logger] | None = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the loggers off before an evaluation amid an epoch."""
        if not is_whole_epoch(trainer):
            self._take_off(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the loggers back."""
        self._put_back(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the loggers off before the means of an epoch that was cut short are logged."""
        if not is_whole_epoch(trainer):
            self._take_off(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the loggers back."""
        self._put_back(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the loggers off: the curves have the last epoch already."""
        self._take_off(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the loggers back, for pictures."""
        self._put_back(trainer)

    def _take_off(self, trainer: Trainer) -> None:
        if self._loggers is None:
            self._loggers, trainer.loggers = trainer.loggers, []

    def _put_back(self, trainer: Trainer) -> None:
        if self._loggers is not None:
            trainer.loggers, self._loggers = self._loggers, None


class Announcement(EpochCallback):
    """A few lines on what is about to run and what it really got.

    Args:
        title: the first line.
        what: what is trained on what.
        changed: what of the experiment is not the row's or recipe's own; empty where nothing is.
        precision: precision of the run, and why it is the one.
        kernels: why they are not ours; empty where nothing is to be said.
        resuming: which checkpoint the run goes on from; empty for a new run.
    """

    def __init__(self, title: str, what: str, changed: str, precision: Precision, kernels: str, resuming: str) -> None:
        self.title, self.what, self.kernels, self.resuming = title, what, kernels, resuming
        self.changed, self.precision = changed, precision

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prints the lines, once every process is in its place."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        device = trainer.strategy.root_device.type
        threads, cores = torch.get_num_threads(), usable_cores()
        told = f"{threads} threads{' each' * (trainer.world_size > 1)}"
        if device == "cpu" and threads > cores:
            told += f" on {cores} cores (trainer.threads: {cores} would be faster)"
        slow = self.precision.emulated
        tell(
            f"{self.title}\n{self.what}; {trainer.world_size} × {device}, {told}, precision {trainer.precision}"
            + (f" ({self.precision.why})" if self.precision.why else "")
            + self.kernels
            + self.resuming
            + (f"\nchanged: {self.changed}" if self.changed else "")
            + ("\nwarning: bfloat16 is slow here; --trainer.precision auto would take 32-true" if slow else ""),
            sys.stderr,
        )
