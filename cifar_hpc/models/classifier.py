"""The base of all networks: training and evaluation steps, metrics, optimiser wiring."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import Optimizer

from cifar_hpc.data.loaders import Batch
from cifar_hpc.errors import UserError
from cifar_hpc.models.evaluation import CollectedAnswers, Evaluation

_STEPS_SUMMED_UP_AT_ONCE = 64
_FROM_0 = range(2**62)


def build_optimizer(make: OptimizerCallable, parameters: Any, argument: str = "optimizer") -> Optimizer:
    """Builds an optimiser as the configuration has it.

    Args:
        make: makes it from the parameters.
        parameters: tensors, or groups of them.
        argument: name of the network's argument that `make` was given as.

    Raises:
        UserError: if the optimiser refuses a setting.
    """
    try:
        return make(parameters)
    except ValueError as error:
        raise UserError(f"model.init_args.{argument}.init_args: {error}") from error


class Classifier(LightningModule):
    """An image classifier trained with cross-entropy.

    Logs once an epoch, never in a step: `train/loss` and `train/accuracy` (running means over the epoch, as
    Keras and most scripts print them), and for each set looked at (`test`, `holdout`) loss, accuracy and
    macro precision, recall and F1.

    Args:
        num_classes: number of classes.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule, stepped once an epoch; null for a constant rate.
    """

    def __init__(
        self,
        num_classes: int = 10,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.make_optimizer = optimizer
        self.make_scheduler: Callable[..., Any] | None = scheduler
        self.example_input_array = torch.zeros(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        self.evaluations: dict[str, Evaluation] = {}
        self._answers: dict[str, CollectedAnswers] = {}
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []
        self._sums = torch.zeros(0)

    def configure_optimizers(self) -> Any:
        """Makes the optimiser and, where the report has one, the schedule."""
        optimizer = build_optimizer(self.make_optimizer, self.parameters())
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    def on_train_epoch_start(self) -> None:
        """Starts the running means of the epoch, and forgets evaluations before it."""
        self.evaluations = {}
        self._steps = []
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Computes the loss of one batch, a `Batch` or images and labels, and adds it to the epoch's running means."""
        batch = as_batch(batch)
        loss, logits = self.training_loss(batch)
        self.count_step(loss.detach(), logits.detach(), batch.labels)
        return loss

    def count_step(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds one batch to the epoch's running means: its loss (), logits (B, num_classes) and labels (B,)."""
        # Summed up on the device, many steps at once: a small step never waits for its metrics.
        self._steps.append((loss, logits, labels))
        if len(self._steps) == _STEPS_SUMMED_UP_AT_ONCE:
            self._sum_up()

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes mean cross-entropy of one batch, and the logits (B, num_classes); networks may add to the loss."""
        logits = self(batch.images)
        return F.cross_entropy(logits, batch.labels), logits

    def on_train_epoch_end(self) -> None:
        """Logs the running means over the images of all processes."""
        metrics = self.train_metrics()
        self._log_epoch("train", {name: metrics[name] for name in ("loss", "accuracy")})

    def train_metrics(self) -> dict[str, float]:
        """Computes loss (nats), accuracy (fraction of 1) and image count of the epoch so far, over all processes."""
        self._sum_up()
        totals = self.trainer.strategy.reduce(self._sums, reduce_op="sum")
        loss, correct, images = (float(total) for total in totals)
        return {"loss": loss / images, "accuracy": correct / images, "images": images}

    def _sum_up(self) -> None:
        """Adds loss, right answers and number of images of the steps since the last call to the epoch's sums."""
        if not self._steps:
            return
        losses, logits, labels = zip(*self._steps, strict=True)
        self._steps = []
        sizes = self._sums.new_tensor([len(part) for part in labels])
        correct = (torch.cat(logits).argmax(1) == torch.cat(labels)).sum()
        self._sums += torch.stack([(torch.stack(losses).double() * sizes).sum(), correct.double(), sizes.sum()])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the answers for one batch."""
        self._answer(batch, _set_name(self.trainer.val_dataloaders, dataloader_idx, "val"))

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics of every set looked at."""
        self._finish_evaluations()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the answers for one batch."""
        self._answer(batch, _set_name(self.trainer.test_dataloaders, dataloader_idx, "test"))

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of the test set."""
        self._finish_evaluations()

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Predicts each image's class, with its confidence, and its place in the dataset where the batch tells it."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        confidence, predicted = self(images).float().softmax(1).max(1)
        place = {"index": batch.indices} if isinstance(batch, Batch) else {}
        return place | {"class": predicted, "confidence": confidence}

    def _answer(self, batch: Any, name: str) -> None:
        batch = as_batch(batch, self._places(name))
        self._collect(name, batch, self(batch.images).float())

    def _places(self, name: str) -> range:
        """Makes places for images that do not tell theirs, in the order of Lightning's and torch's samplers."""
        done, everyone = self._answers[name].count if name in self._answers else 0, self.trainer.world_size
        return _FROM_0[done * everyone + self.trainer.global_rank :: everyone]

    def _collect(self, name: str, batch: Batch, logits: Tensor) -> None:
        if name not in self._answers:
            self._answers[name] = CollectedAnswers(self.num_classes).to(self.device)
        self._answers[name].update(logits, batch.labels, batch.indices)

    def _finish_evaluations(self) -> None:
        self.evaluations = {name: answers.evaluation() for name, answers in self._answers.items()}
        self._answers = {}
        for name, evaluation in self.evaluations.items():
            self._log_epoch(name, evaluation.metrics)
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        if self.trainer.state.fn == "fit" and not progress.is_last_batch:  # amid an epoch, of which it tells nothing
            self.evaluations = {}

    def _log_epoch(self, name: str, metrics: dict[str, float]) -> None:
        bar = "accuracy" if name in ("train", "test") else ""
        for metric, value in metrics.items():
            self.log(f"{name}/{metric}", value, prog_bar=metric == bar)
        if self.trainer.state.fn == "fit":
            # Lightning's own name for the horizontal axis: epochs, from 1, instead of optimiser steps.
            self.log("step", float(self.current_epoch + 1))


def as_batch(batch: Any, places: range = _FROM_0) -> Batch:
    """Turns a batch of anybody's loader, images (B, 3, H, W) and labels (B,), into one of ours.

    Args:
        batch: a `Batch`, or a tuple or list that begins with images and labels.
        places: places of the images in their dataset, where the batch does not tell them.
    """
    if isinstance(batch, Batch):
        return batch
    images, labels = batch[:2]
    here = places[: len(labels)]
    return Batch(images, labels, torch.arange(here.start, here.stop, here.step, device=labels.device))


def _set_name(loaders: Any, index: int, default: str) -> str:
    """Names an evaluated set: as its loader's key has it, else by what is done with it."""
    if isinstance(loaders, Mapping):
        return str(list(loaders)[index])
    return f"{default}_{index}" if isinstance(loaders, list | tuple) and len(loaders) > 1 else default
