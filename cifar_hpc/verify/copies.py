"""Tells copies of records, touched up or not: what one run's network learned, no other seed's and no other row's does.

How hard the images of a class are to two seeds of one network correlates by 0.46 to 0.91 (the records under results/),
to two linear classifiers by 0.994; to a copy whose losses were each changed by a tenth, by 0.9992. Half of the images
lie at least 0.25 of the spread apart, those of the linear classifiers 0.064, and of such a copy 0.026. From about 15 %
on a copy is not told from another run (`docs/scripts/alike.py`).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection.folder import Collection
from cifar_hpc.errors import UserError
from cifar_hpc.records.predictions import Predictions
from cifar_hpc.records.record import Learned, Record

_MOST_ALIKE = 0.999
"""Largest correlation of two runs' losses; see above for what is found."""
_LEAST_APART = 0.04
"""Smallest median distance of two runs' losses, of which 1 is the spread: part of a copy may be quite another."""
_MOST_EPOCHS = 0.5
"""Largest share of epochs with the same losses."""
_FEWEST = 50
"""Number of images below which nothing is said of them."""
_LEARNS = 1e-3
"""Change of a loss, in nats, from one epoch to the next, of a network that learns; all that do not say the same."""
_TELLS_APART = 0.05
"""Spread of losses within a class, of their logarithms, of a network that tells images of a class apart."""
_COMPARED = 1250
"""Number of images that are compared, spread over the test set: an eighth of CIFAR's are enough."""


def learned(record: Record, predictions: Predictions | None) -> Learned:
    """Picks what tells a run from all others.

    Args:
        record: of the run.
        predictions: that lie beside it, if any do.

    Returns:
        Digests of the curve, of each of its epochs' losses, and of the classes that were predicted; and losses of
        single images.
    """
    whole = [repr(record.curve).encode()]
    losses = []
    if predictions is not None:
        for answers in predictions.answers.values():
            # Networks that diverged may well say the same of every image.
            if (answers.predicted != answers.predicted[0]).any():
                whole.append(answers.predicted.tobytes())
            losses.append(hardness(answers.losses, predictions.labels))
    epochs, before = [], math.inf
    for point in record.curve:
        if point.train_loss is not None and abs(point.train_loss - before) > _LEARNS:
            epochs.append(f"{point.epoch} {point.train_loss:.5f} {point.test_loss or 0:.5f}")
        before = point.train_loss or math.inf
    known = [each for each in losses if each is not None]
    return Learned(
        frozenset(hashlib.sha256(one).hexdigest() for one in whole), tuple(epochs), np.stack(known) if known else None
    )


def hardness(losses: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
    """Standardises the logarithms of images' losses within their classes: what a class has in common, any network may.

    Args:
        losses: shape (N,), nats.
        labels: shape (N,), true classes.

    Returns:
        Shape (M,), of length 1; null where a network has learned nothing of single images.
    """
    step = max(1, len(losses) // _COMPARED)
    values, classes = losses[::step].astype(np.float64), labels[::step].astype(np.intp)
    if len(values) < _FEWEST or not np.isfinite(values).all():
        return None
    values = np.log(np.maximum(values, 1e-6))
    counts = np.maximum(np.bincount(classes), 1)
    values -= (np.bincount(classes, values) / counts)[classes]
    length = np.linalg.norm(values)
    return None if length < _TELLS_APART * len(values) ** 0.5 else (values / length).astype(np.float32)


@dataclass
class Originals:
    """The records that were read, each of which no later one may copy.

    Attributes:
        collection: whose rows they tell of.
    """

    collection: Collection
    _whole: dict[str, Record] = field(default_factory=dict)
    _epochs: dict[str, list[Record]] = field(default_factory=dict)
    _with_losses: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Refuses a copy of a record that was read before it, and keeps what tells it from later ones.

        A run may be kept twice, and may be done again from its seed, under any row that is one experiment with its own.

        Raises:
            UserError: if an earlier record of another seed or experiment learned the same, or nearly everywhere.
        """
        for other, how in self._alike(record):
            if other.seed != record.seed:
                told = f"under seed {other.seed} and this one under seed {record.seed}"
            elif not self._one_experiment(other.row, record.row):
                told = f"for {other.row} and this one for {record.row}, which is another experiment"
            else:
                continue
            raise UserError(f"{record.path} is a copy: what its network learned is {how} that of {other.path}, {told}")
        self._keep(record)

    def _alike(self, record: Record) -> Iterator[tuple[Record, str]]:
        """Finds earlier records that learned the same, and says how nearly."""
        for mark in sorted(record.learned.whole):
            if mark in self._whole:
                yield self._whole[mark], "to the last digit"
        common: Counter[int] = Counter()
        found = {}
        for epoch in record.learned.epochs:
            for other in self._epochs.get(epoch, ()):
                common[id(other)] += 1
                found[id(other)] = other
        for other in (found[key] for key, count in common.items() if count > _MOST_EPOCHS * len(record.learned.epochs)):
            yield other, "in most epochs"
        for other in self._with_losses if record.learned.losses is not None else ():
            if _nearly_equal(record.learned.losses, other.learned.losses):
                yield other, "on most images"

    def _keep(self, record: Record) -> None:
        for mark in record.learned.whole:
            self._whole.setdefault(mark, record)
        for epoch in record.learned.epochs:
            self._epochs.setdefault(epoch, []).append(record)
        if record.learned.losses is not None:
            self._with_losses.append(record)

    def _one_experiment(self, first: str | None, second: str | None) -> bool:
        """Checks whether the rows are one experiment, as far as it is known: a recipe may come to the same as a row."""
        rows = self.collection.rows
        if first == second or first not in rows or second is None:
            return True
        return second in {row.reproduction.row for row in self.collection.relatives(rows[first])}


def _nearly_equal(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> bool:
    """Checks whether any of one run's losses, standardised, are those of another, or are on most images."""
    images = first.shape[1]
    if images != second.shape[1]:
        return False
    near = np.abs(first[:, None] - second) < _LEAST_APART / images**0.5
    return bool(
        np.einsum("ik,jk->ij", first, second).max() > _MOST_ALIKE or 2 * np.count_nonzero(near, axis=2).max() > images
    )
