"""Rules on what a table or a log prints of one row, and of rows of one configuration."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from cifar_hpc.collection.reproduction import Row
from cifar_hpc.verify.forensics.finding import Finding, Strength
from cifar_hpc.verify.forensics.printed import EPSILON, bounds, differ

TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
"""Of CIFAR-10 and of CIFAR-100; both test sets hold equally many images of each class (A. Krizhevsky, 2009)."""

Broken = tuple[dict[str, float], str, Strength]
"""The numbers, the sentence, the strength."""


def recall_is_accuracy(row: Row) -> Iterator[Broken]:
    """Recall equals accuracy on a balanced test set.

    Proof: with n images in each of C classes, mean over classes of (hits / n) = (all hits) / (C n). That is the
    macro average; the micro and the weighted average equal accuracy on any test set.
    """
    recall, accuracy = row.reproduction.reported.recall_percent, row.reproduction.reported.test_accuracy_percent
    if recall is not None and accuracy is not None and differ(bounds(recall), bounds(accuracy)):
        yield (
            {"recall_percent": recall, "test_accuracy_percent": accuracy},
            f"recall must equal accuracy on a balanced test set, but {recall} is not {accuracy}",
            "impossible",
        )


def f1_is_bounded(row: Row) -> Iterator[Broken]:
    """Macro F1 lies between P + R - 1 and 2 P R / (P + R), of macro precision P and macro recall R.

    Proof: a class' F1 is the harmonic mean h(p, r). It is concave, so by Jensen the mean of h is at most h of the
    means. And h(p, r) >= min(p, r) >= p + r - 1, since the greater is at most 1; take means.
    """
    reported = row.reproduction.reported
    precision, recall, f1 = reported.precision_percent, reported.recall_percent, reported.f1_percent
    if precision is None or recall is None or f1 is None:
        return
    numbers = {"f1_percent": f1, "precision_percent": precision, "recall_percent": recall}
    p, r = bounds(precision)[1], bounds(recall)[1]
    greatest = 2 * p * r / (p + r) if p + r else 0.0
    if bounds(f1)[0] > greatest + EPSILON:
        yield (
            numbers,
            "macro F1 cannot exceed the harmonic mean of macro precision and macro recall, but "
            f"{f1} exceeds {greatest:.2f}",
            "impossible",
        )
    least = bounds(precision)[0] + bounds(recall)[0] - 100
    if bounds(f1)[1] < least - EPSILON:
        yield (
            numbers,
            f"macro F1 is at least macro precision plus macro recall minus 100 %, but {f1} is below {least:.2f}",
            "impossible",
        )


def accuracy_counts_images(row: Row) -> Iterator[Broken]:
    """An accuracy over N images is a multiple of 1 / N.

    Proof: it is the number of right answers, a whole number, divided by N. Training accuracy is looked at only
    where the batch divides N: else a script may average over batches of unequal size, or drop the last one.
    """
    group, data = row.reproduction, row.config.get("data", {})
    train_images = TRAIN_IMAGES - data.get("holdout_images", 0)
    printed = [(group.reported.test_accuracy_percent, TEST_IMAGES, "test")]
    printed += [(point.test_accuracy_percent, TEST_IMAGES, "test") for point in group.reported.curve]
    if train_images % data.get("batch_size", train_images) == 0:
        printed += [(group.reported.train_accuracy_percent, train_images, "training")]
        printed += [(point.train_accuracy_percent, train_images, "training") for point in group.reported.curve]
    for accuracy, images, split in dict.fromkeys(printed):
        if accuracy is not None and not _is_multiple(accuracy, 100 / images):
            yield (
                {"accuracy_percent": accuracy, "images": images},
                f"an accuracy over {images:,} images is a multiple of {100 / images:g} %, but the {split} accuracy "
                f"{accuracy} is none",
                "impossible",
            )


def _is_multiple(printed: float, step: float) -> bool:
    """Whether some multiple of the step prints as this number."""
    low, high = bounds(printed)
    return math.ceil((low - EPSILON) / step) * step < high - EPSILON


def epochs_add_up(row: Row) -> Iterator[Broken]:
    """The epochs' seconds add up to the training time.

    The sum of what is printed cannot exceed the total; when every epoch is printed it cannot fall short either,
    but for two percent that may pass before, between and after the epochs.
    """
    reported = row.reproduction.reported
    seconds = [point.seconds for point in reported.curve if point.seconds is not None]
    total = reported.training_seconds
    if total is None or not seconds:
        return
    least, greatest = (math.fsum(bounds(s)[side] for s in seconds) for side in (0, 1))
    too_short = len(seconds) == reported.epochs and bounds(total)[0] > 1.02 * greatest
    if least > bounds(total)[1] or too_short:
        added = math.fsum(seconds)
        yield (
            {"sum_of_epochs": added, "training_seconds": total},
            f"epochs must add up to the training time, but the {len(seconds)} that are printed take {added:g} s "
            f"of {total:g} s",
            "contradicts",
        )


def loss_and_accuracy_are_possible(row: Row) -> Iterator[Broken]:
    """Mean cross-entropy is at least ln 2 times the share of wrong answers.

    Proof: where the answer is wrong another class has at least the true class' probability, which is
    therefore at most one half and costs at least ln 2; a right answer costs at least nothing. A thousandth of
    the answers is given away, for means over batches of which the last is smaller.
    """
    for point in row.reproduction.reported.curve:
        for split, loss, accuracy in (
            ("training", point.train_loss, point.train_accuracy_percent),
            ("test", point.test_loss, point.test_accuracy_percent),
        ):
            if loss is None or accuracy is None:
                continue
            least = math.log(2) * (1 - bounds(accuracy)[1] / 100 - 0.001)
            if bounds(loss)[1] < least:
                yield (
                    {"epoch": point.epoch, "loss": loss, "accuracy_percent": accuracy},
                    f"at {accuracy} % the mean cross-entropy is at least {least:.4f}, but epoch {point.epoch} "
                    f"prints a {split} loss of {loss}",
                    "impossible",
                )


ROW_RULES: tuple[Callable[[Row], Iterator[Broken]], ...] = (
    recall_is_accuracy,
    f1_is_bounded,
    accuracy_counts_images,
    epochs_add_up,
    loss_and_accuracy_are_possible,
)

MOST_UNEVEN = 1.5
"""Seconds per epoch of one configuration that differ by more are unusual. Single epochs of one printed log take 68 to
112 s, but the means of its first seven and of its last eight differ by 4 %."""


def seconds_per_epoch_agree(rows: Sequence[Row]) -> Iterator[Finding]:
    """Rows of one configuration, which differ in the number of epochs alone, take equally long for an epoch.

    Args:
        rows: of one report; those with the same label have the same configuration.
    """
    timed = [
        (row.reproduction, row.reproduction.reported.training_seconds / row.reproduction.reported.epochs)
        for row in rows
        if row.reproduction.reported.training_seconds and row.reproduction.reported.epochs
    ]
    for (first, a), (second, b) in combinations(timed, 2):
        if first.label == second.label and not 1 / MOST_UNEVEN <= a / b <= MOST_UNEVEN:
            yield Finding(
                report=first.report or "",
                row=None,
                where=f"{first.where}; {second.where}",
                rule="seconds_per_epoch_agree",
                numbers={first.name: a, second.name: b},
                sentence=f"rows of one configuration take equally long for an epoch, but {first.label} takes {a:.1f} s "
                f"in {first.where} and {b:.1f} s in {second.where}",
                strength="unusual",
                rows=(first.name, second.name),
            )


def audit_row(row: Row) -> list[Finding]:
    """What the rules on single rows find."""
    group = row.reproduction
    return [
        Finding(group.report or "", group.name, group.where, rule.__name__, numbers, sentence, strength, (group.name,))
        for rule in ROW_RULES
        for numbers, sentence, strength in rule(row)
    ]
