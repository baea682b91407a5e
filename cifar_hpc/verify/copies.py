"""Tells copies of records, touched up or not: what one run's network learned, no other seed's and no other row's does.

Of two seeds of one network, two losses in a thousand agree to four digits, whether it is right on 60 % of the images or
on 96 % (the records under results/); of a copy nearly all do, whatever else was changed in it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection.folder import Collection
from cifar_hpc.errors import UserError
from cifar_hpc.records.predictions import Predictions
from cifar_hpc.records.record import Learned, Record

_AGREE = 1e-3
"""Difference of two losses, as a share of them, up to which they are taken for one."""
_MOST = 0.5
"""Largest share of agreeing losses of two runs; see above for what is found."""
_HARD = 0.05
"""Loss, in nats, from which an image counts: of those that a network is sure of, all losses are alike."""
_FEWEST = 50
"""Number of such images below which nothing is said."""
_SPREAD = 0.01
"""Spread of losses, in nats, of a network that has learned something; all that have not say the same."""
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
    for answers in {id(one.losses): one for one in predictions.answers.values()}.values() if predictions else ():
        # Networks that diverged may well say the same of every image.
        if (answers.predicted != answers.predicted[0]).any():
            whole.append(answers.predicted.tobytes())
        losses.append(answers.losses[:: max(1, len(answers.losses) // _COMPARED)])
    points = [(point.epoch, point.train_loss, point.test_loss) for point in record.curve]
    known = [loss for point in points for loss in point[1:] if loss is not None]
    tells = bool(known) and max(known) - min(known) > _SPREAD
    epochs = (f"{epoch} {train:.5f} {test or 0:.5f}" for epoch, train, test in points if train is not None)
    return Learned(
        frozenset(hashlib.sha256(one).hexdigest() for one in whole), tuple(epochs) if tells else (), tuple(losses)
    )


@dataclass
class Originals:
    """The records that were read, each of which no later one may copy.

    Attributes:
        collection: whose rows they tell of.
    """

    collection: Collection
    _whole: dict[str, Record] = field(default_factory=dict)
    _epochs: dict[str, list[Record]] = field(default_factory=dict)
    _losses: dict[int, list[tuple[Record, npt.NDArray[np.float32]]]] = field(default_factory=dict)

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
        for other in (found[key] for key, count in common.items() if count > _MOST * len(record.learned.epochs)):
            yield other, "in most epochs"
        for losses in record.learned.losses:
            for other, others in self._losses.get(len(losses), ()):
                if _nearly_equal(losses, others):
                    yield other, "on most images"

    def _keep(self, record: Record) -> None:
        for mark in record.learned.whole:
            self._whole.setdefault(mark, record)
        for epoch in record.learned.epochs:
            self._epochs.setdefault(epoch, []).append(record)
        for losses in record.learned.losses:
            self._losses.setdefault(len(losses), []).append((record, losses))

    def _one_experiment(self, first: str | None, second: str | None) -> bool:
        """Checks whether the rows are one experiment, as far as it is known: a recipe may come to the same as a row."""
        rows = self.collection.rows
        if first == second or first not in rows or second is None:
            return True
        return second in {row.reproduction.row for row in self.collection.relatives(rows[first])}


def _nearly_equal(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> bool:
    """Checks whether two networks' losses of the same images agree on more of the hard ones than any two runs' do."""
    with np.errstate(all="ignore"):  # what a network that diverged says is no number
        hard = (first > _HARD) & (second > _HARD)
        agree = np.abs(first - second) <= _AGREE * first
        if np.count_nonzero(hard) < _FEWEST or not first[hard].std() > _SPREAD:
            return False
        return bool(np.count_nonzero(agree & hard) > _MOST * np.count_nonzero(hard))
