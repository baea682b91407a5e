"""What a row's averages may be over, and how far batches may move them.

An accuracy over batches of which the last is smaller weighs that batch's images more: with b batches, and r images in
a last one of B, it differs from the true accuracy a by κ (l - a), where l is the last batch's accuracy and
κ = (1 - r / B) / b. A recall over batches differs from accuracy because a batch does not hold equally many images of
each class, and because of what a class counts that a batch lacks.
"""

from dataclasses import dataclass
from math import ceil, comb, erfc, floor, sqrt
from typing import Literal, get_args

from cifar_hpc.collection.reproduction import Averages, Reported, Row
from cifar_hpc.verify.forensics.printed import Interval

USUAL_BATCHES = (32, 50, 64, 100, 128, 200, 256)
"""Batches that people evaluate with; honest rows that do not say theirs are judged by the kindest of them."""

LARGER_BATCHES = (512, 1000, 1024, 2000, 2048, 4096)
"""Batches that a finding may name, for what only they explain."""

RARE = 0.01
"""Share of honest rows of a habit that a finding `unlikely` may hit."""

FEW = 0.05
"""How readily it is believed, of a row that says its batch, that recall too was averaged over batches: 1 in 20, and of
these 1 in 20 again that it is set what a class counts that a batch lacks."""


@dataclass(frozen=True)
class Reading:
    """What a row says of its averages.

    Attributes:
        over: `images`, `batches` or `unknown`, within a run.
        runs: number of runs that the values are means over; null for any number.
        averages: the ways in which precision, recall and F1 may be averaged over classes.
        batch: images of a batch, where the row says it.
    """

    over: Literal["images", "batches", "unknown"]
    runs: int | None
    averages: tuple[Averages, ...]
    batch: int | None = None

    def __str__(self) -> str:
        over = {"images": "averaged over all images", "batches": "averaged over batches", "unknown": ""}[self.over]
        runs = "" if self.runs == 1 or self.over == "unknown" else "and over runs"
        return " ".join(filter(None, (over, runs))) or "whatever was averaged"


def reading(row: Row) -> Reading:
    """Collects how the row's averages may be read."""
    reported: Reported = row.reproduction.reported
    over, runs = reported.averaged_over, reported.runs
    if over == "runs":  # of what each run is the mean it leaves open
        over, runs = "unknown", runs if runs is not None and runs > 1 else None
    elif over == "images":
        # A printed deviation is one between runs, however many.
        runs = runs or (None if reported.std_percent is not None else 1)
    known = reported.averages
    origin = row.reproduction.settings.get("batch_size")
    told = origin is not None and origin.origin != "unknown"
    batch = row.config.get("data", {}).get("batch_size") if told else None
    return Reading(over, runs, ("macro", "weighted", "micro") if known == "unknown" else (known,), batch)


def last_batch_weight(images: int, batch: int) -> tuple[float, int]:
    """Computes how much the last batch moves the mean over batches (κ), and counts its images."""
    last = images % batch
    return ((1 - last / batch) / (images // batch + 1), last) if last else (0.0, batch)


def least_batch(accuracy: Interval, recall: Interval, images: int) -> int | None:
    """Finds the smallest known batch over which an accuracy may be so far from the true one; null if none does."""
    for batch in (*USUAL_BATCHES, *LARGER_BATCHES):
        low, high = _last_accuracy(accuracy, recall, *last_batch_weight(images, batch))
        if low <= 1 and high >= 0 and low <= high:
            return batch
    return None


def chance_of_accuracy(accuracy: Interval, recall: Interval, images: int, batch: int) -> float:
    """Estimates the share of honest rows whose accuracy over batches is as far from the true one, or further."""
    weight, last = last_batch_weight(images, batch)
    low, high = _last_accuracy(accuracy, recall, weight, last)
    true = float(recall[0] + recall[1]) / 2
    if low > true:
        least = ceil(low * last - 1e-9)
        return _binomial(last, true, range(max(least, 0), last + 1))
    if high < true:
        return _binomial(last, true, range(0, min(floor(high * last + 1e-9), last) + 1))
    return 1.0


def _last_accuracy(accuracy: Interval, recall: Interval, weight: float, last: int) -> tuple[float, float]:
    """Bounds the last batch's accuracy; an impossible interval where it moves nothing."""
    low, high = float(accuracy[0] - recall[1]), float(accuracy[1] - recall[0])
    if low <= 0 <= high:
        return 0.0, 1.0
    if weight == 0:
        return 2.0, -1.0
    true = float(recall[0] + recall[1]) / 2
    return true + low / weight, true + high / weight


def _binomial(count: int, share: float, hits: range) -> float:
    return sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in hits)


Absent = Literal["predicted", "zero", "one"]
"""What a class counts that a batch lacks: 0 where it is predicted and else nothing, as scikit-learn and torchmetrics
have it, or 0 or 1 in any case, as scikit-learn has it with `labels` and `zero_division`."""


def chance_of_recall(
    accuracy: Interval, recall: Interval, images: int, classes: int, batch: int, absent: Absent
) -> float:
    """Estimates the share of honest rows whose recall over batches is as far from their accuracy, or further.

    Each image's weight in it scatters, about as C / B, and some batches lack a class. Both are approximations, held
    against drawn rows by `make audit-study`.
    """
    share = float(accuracy[0] + accuracy[1]) / 2
    low, high = float(recall[0] - accuracy[1]), float(recall[1] - accuracy[0])
    uneven = min(classes / batch * (1 + 2 * classes / batch), 1.0)
    weight, last = last_batch_weight(images, batch)
    parts = images // batch + (1 if images % batch else 0)
    spread = max(share * (1 - share), 1e-4) * (uneven / images + weight**2 / last)
    lacking = (_lacking(share, classes, batch, absent) * (parts - 1) + _lacking(share, classes, last, absent)) / parts
    up, down = ((1 - share) * lacking, 0.0) if absent == "one" else (0.0, share * lacking)
    return erfc(max(low - up, -high - down, 0) / sqrt(2.0 * spread))


def _lacking(share: float, classes: int, batch: int, absent: Absent) -> float:
    """Estimates the part of the classes that a batch lacks and that count all the same."""
    missing = (1 - 1 / classes) ** batch
    if absent != "predicted":
        return float(missing)
    predicted = 1 - (1 - 1 / (classes - 1)) ** (batch * (1 - share))
    part: float = missing * predicted / (1 - missing + missing * predicted)
    return part


def chance(accuracy: Interval, recall: Interval, images: int, classes: int, batch: int | None) -> float:
    """Estimates the share of honest rows, by the kindest habit, whose accuracy and recall are as far apart as these."""
    batches = USUAL_BATCHES if batch is None else (batch,)
    by_accuracy = max(chance_of_accuracy(accuracy, recall, images, b) for b in batches)
    usual, zero, one = (
        max(chance_of_recall(accuracy, recall, images, classes, b, absent) for b in batches)
        for absent in get_args(Absent)
    )
    if batch is None:
        return max(by_accuracy, usual, zero, one)
    return max(by_accuracy, FEW * usual, FEW**2 * max(zero, one))
