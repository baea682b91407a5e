"""What a network said of every image of a set, and the metrics that follow from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

_DECIMALS = 6
"""Decimals kept of a metric: a hundredth of one image in ten thousand, and less than float32 resolves."""


@dataclass(frozen=True)
class Evaluation:
    """The answers of a network for a whole set, in dataset order, and the metrics.

    Attributes:
        indices: shape (N,), place of each image in the dataset.
        labels: shape (N,), the true class.
        predicted: shape (N,), the class with the largest logit.
        confidence: shape (N,), softmax probability of the predicted class.
        losses: shape (N,), cross-entropy of each image.
        ranks: shape (N,), number of classes placed before the true one; 0 where the answer is right.
        metrics: `loss` (mean cross-entropy, nats), and `accuracy`, `top5_accuracy`, `precision`, `recall`, `f1` as
            fractions of 1, the last three macro averages.
    """

    indices: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    losses: Tensor
    ranks: Tensor
    metrics: dict[str, float]


_ANSWERS = ("indices", "labels", "predicted", "confidence", "losses", "ranks")


class CollectedAnswers(Metric):
    """Collects a network's answer for each image; every image counts once, on any number of processes.

    A torchmetrics metric, so that Lightning and torchmetrics gather the parts of all processes, of unequal
    size too.
    """

    full_state_update = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.count = 0  # of this process
        for name in _ANSWERS:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Adds the answers for one batch.

        Args:
            logits: shape (B, C), float32.
            labels: shape (B,).
            indices: shape (B,).
        """
        self.count += len(labels)
        probabilities = logits.softmax(1)
        confidence, predicted = probabilities.max(1)
        # Of equal ones the first counts as larger, as `max` has it; so a right answer has rank 0, whatever is equal.
        order = probabilities.argsort(dim=1, descending=True, stable=True)
        self._append("ranks", (order == labels[:, None]).int().argmax(1))
        self._append("indices", indices)
        self._append("labels", labels)
        self._append("predicted", predicted)
        self._append("confidence", confidence)
        self._append("losses", F.cross_entropy(logits, labels, reduction="none"))

    def _append(self, name: str, values: Tensor) -> None:
        getattr(self, name).append(values.detach())

    def compute(self) -> dict[str, Tensor]:
        """Joins all answers, in dataset order, on the CPU."""
        joined = {name: self._joined(name) for name in _ANSWERS}
        order = joined["indices"].argsort()
        return {name: values[order] for name, values in joined.items()}

    def evaluation(self) -> Evaluation:
        """Evaluates everything added, on all processes together.

        Raises:
            RuntimeError: if an image was counted twice.
        """
        answers = self.compute()
        if len(answers["indices"].unique()) != len(answers["indices"]):
            raise RuntimeError("an image was evaluated twice; the loaders of the processes overlap")
        loss = float(answers["losses"].double().mean())
        metrics = macro_metrics(answers["predicted"], answers["labels"], self.num_classes)
        top5 = int((answers["ranks"] < 5).sum()) / len(answers["ranks"])
        return Evaluation(**answers, metrics={"loss": loss, **metrics, "top5_accuracy": top5})

    def _joined(self, name: str) -> Tensor:
        values: Any = getattr(self, name)
        return (torch.cat(values) if isinstance(values, list) else values).cpu()


def logits_over_views(network: Callable[[Tensor], Tensor], images: Tensor, plain: Tensor) -> Tensor:
    """Averages the logits over six views of each image: test-time augmentation.

    The views are the image and its shifts by one pixel up and left, and down and right (with the border reflected),
    each as it is and mirrored. The unshifted pair counts one half, either shifted pair a quarter: K. Jordan,
    arXiv:2404.00498.

    Args:
        network: maps images to logits.
        images: shape (B, 3, H, W).
        plain: shape (B, C), float32, the network's logits of the images as they are.

    Returns:
        Shape (B, C), float32.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    shifted = (padded[..., :height, :width], padded[..., 2:, 2:])
    total = 2 * (plain + network(images.flip(-1)).float())
    for view in shifted:
        total = total + network(view).float() + network(view.flip(-1)).float()
    return total / 8


def macro_metrics(predicted: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Computes accuracy and macro precision, recall and F1, by torchmetrics, as fractions of 1.

    Args:
        predicted: shape (N,), classes.
        labels: shape (N,), classes.
        num_classes: number of classes.

    Returns:
        The four metrics, rounded to six decimals: torchmetrics computes in float32, and on a balanced test
        set macro recall must equal accuracy to the last digit that is kept.
    """
    collection = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "precision": MulticlassPrecision(num_classes, average="macro"),
            "recall": MulticlassRecall(num_classes, average="macro"),
            "f1": MulticlassF1Score(num_classes, average="macro"),
        },
        compute_groups=False,
    )
    # The evaluation is whole on every process by now: nothing must be gathered a second time.
    for metric in collection.values():
        metric.sync_on_compute = False
    collection.update(predicted, labels)
    return {name: round(float(value), _DECIMALS) for name, value in collection.compute().items()}
