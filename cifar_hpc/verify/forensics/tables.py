"""Checks a row's printed numbers against each other, without training anything.

Each rule is a small function with its proof. A rule speaks only when the printed digits leave no way out: a
false alarm is worse than a miss.
"""

import math
from collections.abc import Callable, Iterator

from cifar_hpc.reproduction import Reported, Reproduction, Row
from cifar_hpc.verify.forensics.finding import Finding, Strength

_PRINTED = 0.005
"""Half of the last digit of a percentage printed with two decimals."""


Broken = tuple[dict[str, float], str, Strength]
"""The numbers, the sentence, the strength."""


def recall_is_accuracy(reported: Reported) -> Iterator[Broken]:
    """Macro recall equals accuracy on a balanced test set.

    Proof: with n images in each of C classes, mean over classes of (hits / n) = (all hits) / (C n).
    """
    recall, accuracy = reported.recall_percent, reported.test_accuracy_percent
    if recall is not None and accuracy is not None and abs(recall - accuracy) > 2 * _PRINTED + 1e-9:
        yield (
            {"recall_percent": recall, "test_accuracy_percent": accuracy},
            f"macro recall must equal accuracy on a balanced test set, but {recall} is not {accuracy}",
            "impossible",
        )


def f1_is_bounded(reported: Reported) -> Iterator[Broken]:
    """Macro F1 cannot exceed the harmonic mean of macro precision and macro recall.

    Proof: the harmonic mean is concave in (precision, recall), so by Jensen the mean of the classes' F1 is at
    most the harmonic mean of the means.
    """
    precision, recall, f1 = reported.precision_percent, reported.recall_percent, reported.f1_percent
    if precision is None or recall is None or f1 is None:
        return
    p, r = precision + _PRINTED, recall + _PRINTED
    bound = 2 * p * r / (p + r)
    if f1 - _PRINTED > bound + 1e-9:
        yield (
            {"f1_percent": f1, "precision_percent": precision, "recall_percent": recall},
            f"macro F1 cannot exceed the harmonic mean of macro precision and recall, but {f1} exceeds {bound:.2f}",
            "impossible",
        )


def epochs_add_up(reported: Reported) -> Iterator[Broken]:
    """The epochs' seconds add up to the training time, when all of them are printed.

    Each is rounded to a second, so n of them are off by at most n / 2; what runs between epochs is given two
    percent.
    """
    seconds = [point.seconds for point in reported.curve if point.seconds is not None]
    total = reported.training_seconds
    if total is None or reported.epochs is None or len(seconds) != reported.epochs:
        return
    added = math.fsum(seconds)
    if abs(added - total) > len(seconds) / 2 + 0.02 * total:
        yield (
            {"sum_of_epochs": added, "training_seconds": total},
            f"the printed epochs must add up to the training time, but they take {added:g} s of {total:g} s",
            "contradicts",
        )


def loss_and_accuracy_are_possible(reported: Reported) -> Iterator[Broken]:
    """Mean cross-entropy is at least ln 2 times the share of wrong answers.

    Proof: where the answer is wrong another class has at least the true class' probability, which is
    therefore at most one half and costs at least ln 2; a right answer costs at least nothing.
    """
    for point in reported.curve:
        for split, loss, accuracy in (
            ("training", point.train_loss, point.train_accuracy_percent),
            ("test", point.test_loss, point.test_accuracy_percent),
        ):
            if loss is None or accuracy is None:
                continue
            least = math.log(2) * (1 - (accuracy + _PRINTED) / 100)
            if loss + 5e-4 < least:
                yield (
                    {"epoch": point.epoch, "loss": loss, "accuracy_percent": accuracy},
                    f"at {accuracy} % the mean cross-entropy is at least {least:.4f}, but epoch {point.epoch} "
                    f"prints a {split} loss of {loss}",
                    "impossible",
                )


RULES: tuple[Callable[[Reported], Iterator[Broken]], ...] = (
    recall_is_accuracy,
    f1_is_bounded,
    epochs_add_up,
    loss_and_accuracy_are_possible,
)


def audit_row(row: Row) -> list[Finding]:
    """All findings on one row."""
    group: Reproduction = row.reproduction
    return [
        Finding(group.report or "", group.name, group.where, rule.__name__, numbers, sentence, strength, (group.name,))
        for rule in RULES
        for numbers, sentence, strength in rule(group.reported)
    ]
