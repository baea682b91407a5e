"""How often `audit` is wrong: honest rows of many habits, and rows broken in many ways (`make audit-study`).

Prints the two tables of docs/audit.md, and holds `BY_CHANCE` of cifar_hpc/verify/forensics/slips.py against what it
counts. A row is made from labels and predictions, as a script would: a network with its own recall for each class and
its own favourites among mistakes, scikit-learn's averages, and the habit's way to average and to print.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cifar_hpc.collection.reproduction import CurvePoint, Reported, Reproduction, Row, Setting, TestSet
from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify.forensics.slips import BY_CHANCE, explanations, odd
from cifar_hpc.verify.forensics.tables import audit_row

SETS: dict[str, tuple[int, ...]] = {
    "CIFAR-10, Fashion-MNIST": (1000,) * 10,
    "CIFAR-100": (100,) * 100,
    "MNIST": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    "SVHN": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
    "three classes": (500, 300, 200),
}
"""Images of each class of the test sets: of MNIST and SVHN as their publishers count them."""


@dataclass(frozen=True)
class Run:
    """A trained network's answers to a test set, in the order of a shuffled test set."""

    labels: np.ndarray
    answers: np.ndarray
    sizes: tuple[int, ...]
    top5: float

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.labels == self.answers).mean())


def make_run(rng: np.random.Generator, sizes: tuple[int, ...], accuracy: float) -> Run:
    """Draws a network: recalls scatter about the accuracy, mistakes go to a few classes more than to others."""
    classes = len(sizes)
    logit = np.log(accuracy / (1 - accuracy)) + rng.normal(0, 0.6, classes)
    recall = 1 / (1 + np.exp(-logit))
    favour = rng.gamma(1.5, size=(classes, classes))
    np.fill_diagonal(favour, 0)
    favour /= favour.sum(axis=1, keepdims=True)
    labels = rng.permutation(np.repeat(np.arange(classes), sizes))
    right = rng.random(len(labels)) < recall[labels]
    wrong = (favour.cumsum(axis=1)[labels] < rng.random(len(labels))[:, None]).sum(axis=1).clip(0, classes - 1)
    wrong = np.where(wrong == labels, (labels + 1) % classes, wrong)
    answers = np.where(right, labels, wrong)
    top5 = 1 - (1 - float(right.mean())) * rng.uniform(0.03, 0.25)
    return Run(labels, answers, sizes, top5)


def averages(
    labels: np.ndarray, answers: np.ndarray, classes: int, kind: str = "macro", absent: int | None = None
) -> tuple[float, ...]:
    """Accuracy, precision, recall and F1 as scikit-learn computes them.

    Args:
        labels: true classes.
        answers: of the network.
        classes: their number.
        kind: how they are averaged over classes.
        absent: what a class counts that is nowhere (scikit-learn's zero_division, with all labels given); null where
            such classes are left out, and a class that is never predicted has the precision 0.
    """
    hits = np.bincount(labels[labels == answers], minlength=classes)
    own, predicted = np.bincount(labels, minlength=classes), np.bincount(answers, minlength=classes)
    accuracy = float(hits.sum() / len(labels))
    if kind == "micro":
        return (accuracy,) * 4
    there = ((own + predicted) > 0) | (absent is not None)
    hits, own, predicted = hits[there], own[there], predicted[there]
    weights = own / own.sum() if kind == "weighted" else np.full(len(own), 1 / len(own))
    p, r, f = (
        np.where(all_ > 0, part / np.maximum(all_, 1), absent or 0)
        for part, all_ in ((hits, predicted), (hits, own), (2 * hits, own + predicted))
    )
    return accuracy, *(float((weights * x).sum()) for x in (p, r, f))


def over_batches(run: Run, batch: int, kind: str = "macro", absent: int | None = None) -> tuple[float, ...]:
    """The means over batches of which the last is smaller."""
    classes = len(run.sizes)
    parts = [
        averages(run.labels[k : k + batch], run.answers[k : k + batch], classes, kind, absent)
        for k in range(0, len(run.labels), batch)
    ]
    return tuple(np.mean(parts, axis=0).tolist())


def show(value: float, decimals: int, how: str) -> Printed:
    """A share as a percentage in print: rounded, cut off, or a float32 with all its digits."""
    if how == "float32":
        return Printed(repr(float(np.float32(value))) if value > 1 else repr(100 * float(np.float32(value))))
    if how == "cut off":
        text = f"{np.float32(100) * np.float32(value):.{decimals + 4}f}"
        return Printed(text[: len(text) - 4] if decimals else text.partition(".")[0])
    return Printed(f"{100 * value:.{decimals}f}")


KEYS = ("test_accuracy_percent", "precision_percent", "recall_percent", "f1_percent")


def make_row(values: tuple[float, ...], sizes: tuple[int, ...] | None, name: str = "made_up", **options: Any) -> Row:
    """A row for `audit` alone, with test_set."""
    decimals, how = options.pop("decimals", 2), options.pop("how", "rounded")
    printed = {key: show(value, decimals, how) for key, value in zip(KEYS, values, strict=True)}
    test_set = options.pop("test_set", None)
    if test_set is None and sizes is not None:
        even = len(set(sizes)) == 1
        test_set = TestSet(sum(sizes), len(sizes), sizes[0] if even else list(sizes))
    settings = options.pop("settings", {})
    reported = Reported(**{**printed, **options})
    group = Reproduction(
        row=name, report="luo", where=name, label=name, reported=reported, test_set=test_set, settings=settings
    )
    return Row(Path(f"{name}.yaml"), group, {})


def draw_set(rng: np.random.Generator) -> tuple[int, ...]:
    """A test set; CIFAR-10 most often."""
    names = list(SETS)
    return SETS[str(rng.choice(names, p=[0.5, 0.15, 0.15, 0.1, 0.1]))]


def draw_run(rng: np.random.Generator, sizes: tuple[int, ...] | None = None) -> Run:
    """A network of any quality."""
    return make_run(rng, sizes or draw_set(rng), float(rng.beta(6, 2)))


Habit = Callable[[np.random.Generator, bool], Row]


def _said(stated: bool, **readings: Any) -> dict[str, Any]:
    return readings if stated else {}


def plain(rng: np.random.Generator, stated: bool) -> Row:
    """Averages over all images, with 0 to 4 decimals, rounded or cut off; any or all of the four metrics."""
    run, kind = draw_run(rng), str(rng.choice(["macro", "macro", "weighted", "micro"]))
    if rng.random() < 0.2:  # one class is never predicted
        run.answers[run.answers == 0] = 1
    values = averages(run.labels, run.answers, len(run.sizes), kind, int(rng.integers(0, 2)))
    row = make_row(
        values,
        run.sizes,
        decimals=int(rng.integers(0, 5)),
        how=str(rng.choice(["rounded", "cut off"])),
        **_said(stated, averaged_over="images", averages=kind),
    )
    for key in KEYS:
        if rng.random() < 0.15:
            setattr(row.reproduction.reported, key, None)
    return row


def keras(rng: np.random.Generator, stated: bool) -> Row:
    """A float32 with all digits."""
    run = draw_run(rng)
    values = averages(run.labels, run.answers, len(run.sizes))
    return make_row(values, run.sizes, how="float32", **_said(stated, averaged_over="images", averages="macro"))


def accuracy_over_batches(rng: np.random.Generator, stated: bool) -> Row:
    """Accuracy over batches of 32, 64, 128 or 256 beside scikit-learn's averages over all images."""
    run = draw_run(rng)
    values = list(averages(run.labels, run.answers, len(run.sizes)))
    values[0] = over_batches(run, int(rng.choice([32, 64, 128, 256])))[0]
    return make_row(
        tuple(values), run.sizes, decimals=int(rng.integers(1, 4)), **_said(stated, averaged_over="batches")
    )


def all_over_batches(rng: np.random.Generator, stated: bool) -> Row:
    """All four over batches of 32, 64, 128 or 256; classes that a batch lacks are left out, or count as 0 or as 1."""
    run, kind = draw_run(rng), str(rng.choice(["macro", "macro", "weighted", "micro"]))
    absent = (None, 0, 1)[int(rng.integers(0, 3))]
    values = over_batches(run, int(rng.choice([32, 64, 128, 256])), kind, absent)
    said = _said(stated, averaged_over="batches", averages=kind)
    return make_row(values, run.sizes, decimals=int(rng.integers(1, 4)), **said)


def mean_recall(rng: np.random.Generator, stated: bool) -> Row:
    """Accuracy as the mean of the classes' recalls, as torchmetrics has it, beside any averages; unequal classes."""
    run = draw_run(rng, SETS[str(rng.choice(["MNIST", "SVHN", "three classes"]))])
    accuracy = averages(run.labels, run.answers, len(run.sizes))[2]
    kind = str(rng.choice(["macro", "weighted", "micro"]))
    values = (accuracy, *averages(run.labels, run.answers, len(run.sizes), kind)[1:])
    said = _said(stated, averaged_over="images", averages=kind)
    return make_row(values, run.sizes, decimals=int(rng.integers(1, 5)), **said)


def mixed_averages(rng: np.random.Generator, stated: bool) -> Row:
    """One of precision, recall and F1 with another average than the other two, of which the row says nothing."""
    run = draw_run(rng)
    values, other = (
        list(averages(run.labels, run.answers, len(run.sizes), str(kind)))
        for kind in rng.choice(["macro", "weighted", "micro"], 2, replace=False)
    )
    place = int(rng.integers(1, 4))
    values[place] = other[place]
    return make_row(tuple(values), run.sizes, decimals=int(rng.integers(1, 4)), **_said(stated, averaged_over="images"))


def mean_of_runs(rng: np.random.Generator, stated: bool) -> Row:
    """Means of 3 or 5 runs at two or three decimals; the accuracy of each run is over images or over batches."""
    sizes, runs, quality = draw_set(rng), int(rng.choice([3, 5])), float(rng.beta(6, 2))
    every = [make_run(rng, sizes, quality) for _ in range(runs)]
    values = np.mean([averages(r.labels, r.answers, len(sizes)) for r in every], axis=0)
    if rng.random() < 0.5:
        values[0] = np.mean([over_batches(r, 128)[0] for r in every])
    said = _said(stated, averaged_over="runs", averages="macro", runs=runs if rng.random() < 0.7 else None)
    return make_row(tuple(values.tolist()), sizes, decimals=int(rng.integers(2, 4)), **said)


def other_split(rng: np.random.Generator, stated: bool) -> Row:
    """8,000 or 12,500 test images of a random split; where it is said, with the images of each class or without."""
    images = int(rng.choice([8000, 12500]))
    sizes = tuple(int(n) for n in rng.multinomial(images, [0.1] * 10))
    run = make_run(rng, sizes, float(rng.beta(6, 2)))
    values = averages(run.labels, run.answers, 10)
    told = TestSet(images, 10, list(sizes) if rng.random() < 0.5 else None)
    if not stated:  # nobody says which test set it is
        return make_row(values, None)
    return make_row(values, None, test_set=told, averaged_over="images", averages="macro")


LOSSES = {"cross-entropy": 1.0, "binary cross-entropy": 0.2, "focal loss": 0.3}
"""Losses, and about what part of cross-entropy they are."""


def draw_log(rng: np.random.Generator, loss: str) -> list[CurvePoint]:
    """A training log.

    In the kept records (`results/`) what a wrong answer costs is 2.7 nats at first and up to 24 at the end, and leaves
    the line between its neighbours by 0.3 to 7 % in training (root mean square over a log's epochs) and by 1 to 11 %
    on the test set, but for one epoch of one record, which is off by a factor of 121.
    """
    epochs, drop = int(rng.integers(3, 20)), int(rng.integers(2, 30))
    time = np.arange(epochs) / 20
    scatter, growth = rng.uniform(0.003, 0.06), rng.uniform(0, 2)
    curve = []
    for k in range(epochs):
        accuracy = 0.9 - 0.5 * np.exp(-0.3 * k) + 0.05 * (k >= drop) + rng.normal(0, 0.01)
        cost = LOSSES[loss] * rng.uniform(2.7, 3) * np.exp(growth * time[k] + rng.normal(0, scatter))
        tested = min(accuracy + rng.normal(-0.03, 0.03), 0.99)
        lost = cost * (1 - tested) * np.exp(rng.normal(0, 0.1)) * (50 if rng.random() < 0.01 else 1)
        curve.append(
            CurvePoint(
                k + 1,
                train_loss=round(cost * (1 - accuracy), 4),
                train_accuracy_percent=round(100 * accuracy, 2),
                test_loss=round(lost, 4),
                test_accuracy_percent=round(100 * tested, 2),
            )
        )
    return curve


def log_row(curve: list[CurvePoint], stated: bool, loss: str, **options: Any) -> Row:
    """A row that prints a log and no metrics."""
    settings = {"loss": Setting("stated", loss)} if stated else {}
    row = make_row((0.5,) * 4, SETS["CIFAR-10, Fashion-MNIST"], settings=settings)
    row.reproduction.reported = Reported(epochs=len(curve), curve=curve, **options)
    return row


def with_evaluation(rng: np.random.Generator, stated: bool) -> Row:
    """A log whose total includes evaluation; the loss is cross-entropy, its binary form, or focal loss."""
    loss = str(rng.choice(list(LOSSES)))
    curve = draw_log(rng, loss)
    seconds = rng.uniform(20, 90) * rng.uniform(0.95, 1.3, len(curve))
    for point, own in zip(curve, seconds, strict=True):
        point.seconds = round(float(own), int(rng.integers(0, 3)))
    total = round(float(seconds.sum()) * rng.uniform(1.02, 1.5), 2)
    return log_row(curve, stated, loss, training_seconds=total, **_said(stated, averaged_over="batches"))


def divided_again(rng: np.random.Generator, stated: bool) -> Row:
    """A log whose loss is the sum of the batches' mean losses, divided by the number of images."""
    curve, batch = draw_log(rng, "cross-entropy"), int(rng.choice([16, 32, 64, 100, 128, 256]))
    for point in curve:
        point.train_loss = round((point.train_loss or 0) / batch, 5)
        point.test_loss = None
    return log_row(curve, stated, "cross-entropy", **_said(stated, averaged_over="batches"))


def last_batch(rng: np.random.Generator, stated: bool) -> Row:
    """A log of the last batch's loss beside the epoch's accuracy."""
    curve = draw_log(rng, "cross-entropy")
    for point in curve:
        point.train_loss = round((point.train_loss or 0) * float(rng.gamma(4) / 4), 4)
    return log_row(curve, stated, "cross-entropy")


HABITS: tuple[Habit, ...] = (
    plain,
    keras,
    accuracy_over_batches,
    all_over_batches,
    mean_recall,
    mixed_averages,
    mean_of_runs,
    other_split,
    with_evaluation,
    divided_again,
    last_batch,
)


@dataclass(frozen=True)
class Broken:
    """A row with one slip.

    Attributes:
        row: with the slip.
        slip: its name among `BY_CHANCE`; empty where none is its name.
        others: rows of the same report.
    """

    row: Row
    slip: str = ""
    others: tuple[Row, ...] = ()


def _honest(rng: np.random.Generator, sizes: tuple[int, ...] | None = None) -> tuple[Run, list[float]]:
    run = draw_run(rng, sizes or SETS[str(rng.choice(["CIFAR-10, Fashion-MNIST", "MNIST", "SVHN"]))])
    return run, list(averages(run.labels, run.answers, len(run.sizes)))


def _stated(values: list[float], run: Run, **options: Any) -> Row:
    return make_row(tuple(values), run.sizes, averaged_over="images", averages="macro", **options)


def f1_of_averages(rng: np.random.Generator) -> Broken:
    """F1 as harmonic mean of the averages."""
    run, v = _honest(rng)
    v[3] = 2 * v[1] * v[2] / (v[1] + v[2])
    return Broken(_stated(v, run), "F1 as harmonic mean of the averages")


def _of_kind(kind: str, sizes: str) -> Callable[[np.random.Generator], Broken]:
    def make(rng: np.random.Generator) -> Broken:
        run = draw_run(rng, SETS[sizes])
        return Broken(_stated(list(averages(run.labels, run.answers, 10, kind)), run), f"{kind} averages")

    make.__doc__ = f"{kind} averages passed off as macro ({sizes})."
    return make


def _of_other_epoch(place: int) -> Callable[[np.random.Generator], Broken]:
    def make(rng: np.random.Generator) -> Broken:
        run, v = _honest(rng)
        other = make_run(rng, run.sizes, float(np.clip(run.accuracy + rng.normal(0, 0.02), 0.1, 0.99)))
        copied = averages(other.labels, other.answers, len(run.sizes))
        v[place] = copied[place]
        neighbour = _stated(list(copied), other, name="neighbour")
        return Broken(_stated(v, run), "a value copied from another row or epoch", (neighbour,))

    make.__doc__ = f"{KEYS[place].removesuffix('_percent')} of another row's matrix."
    return make


def _typo(kind: str, without_recall: bool, stated: bool = True) -> Callable[[np.random.Generator], Broken]:
    def make(rng: np.random.Generator) -> Broken:
        run, v = _honest(rng)
        row = _stated(v, run) if stated else make_row(tuple(v), run.sizes)
        place = int(rng.integers(0, 4))
        if without_recall:
            row.reproduction.reported.recall_percent = None
            place = int(rng.choice([0, 1, 3]))
        text = str(getattr(row.reproduction.reported, KEYS[place]))
        places = [k for k, c in enumerate(text) if c.isdigit()]
        for _ in range(50):
            letters = list(text)
            a = int(rng.integers(0, len(places) - (kind != "wrong")))
            if kind == "wrong":
                letters[places[a]] = str(rng.integers(0, 10))
            else:
                letters[places[a]], letters[places[a + 1]] = letters[places[a + 1]], letters[places[a]]
            if "".join(letters) != text and float("".join(letters)) <= 100:
                break
        setattr(row.reproduction.reported, KEYS[place], Printed("".join(letters)))
        return Broken(row, "one digit wrong" if kind == "wrong" else "two digits exchanged")

    what = "one digit wrong" if kind == "wrong" else "two digits exchanged"
    make.__doc__ = what + ", recall not printed" * without_recall + ", in a row that says nothing" * (not stated)
    return make


def exchanged(rng: np.random.Generator) -> Broken:
    """Precision and recall exchanged."""
    run, v = _honest(rng)
    v[1], v[2] = v[2], v[1]
    return Broken(_stated(v, run), "precision and recall exchanged")


def accuracy_by_batch(rng: np.random.Generator) -> Broken:
    """Accuracy over batches, said to be over images."""
    run, v = _honest(rng, SETS["CIFAR-10, Fashion-MNIST"])
    v[0] = over_batches(run, int(rng.choice([32, 64, 128, 256])))[0]
    return Broken(_stated(v, run, decimals=3), "per-batch averages")


def accuracy_by_batch_elsewhere(rng: np.random.Generator) -> Broken:
    """Accuracy over batches, said to be over images (MNIST)."""
    run, v = _honest(rng, SETS["MNIST"])
    v[0] = over_batches(run, int(rng.choice([32, 64, 128, 256])))[0]
    return Broken(_stated(v, run, decimals=3), "per-batch averages")


def all_by_batch(rng: np.random.Generator) -> Broken:
    """All four over batches, said to be over images."""
    run, _ = _honest(rng, SETS["CIFAR-10, Fashion-MNIST"])
    return Broken(_stated(list(over_batches(run, int(rng.choice([32, 64, 128, 256])))), run), "per-batch averages")


def drop_last(rng: np.random.Generator) -> Broken:
    """Accuracy over the first 9,984 images, said to be over 10,000."""
    run, v = _honest(rng, SETS["CIFAR-10, Fashion-MNIST"])
    v[0] = float((run.labels[:9984] == run.answers[:9984]).mean())
    row = _stated(v, run, decimals=4)
    return Broken(row, "drop_last")


def training_accuracy(rng: np.random.Generator) -> Broken:
    """Training accuracy as test accuracy."""
    run, v = _honest(rng, SETS["CIFAR-10, Fashion-MNIST"])
    v[0] = round(50_000 * min(v[0] + rng.uniform(0.01, 0.15), 0.9999)) / 50_000
    row = _stated(v, run)
    row.reproduction.reported.train_accuracy_percent = row.reproduction.reported.test_accuracy_percent
    return Broken(row, "training accuracy")


def top5(rng: np.random.Generator) -> Broken:
    """Top-5 accuracy as accuracy."""
    run, v = _honest(rng, SETS["CIFAR-10, Fashion-MNIST"])
    v[0] = round(run.top5 * 10_000) / 10_000
    return Broken(_stated(v, run), "top-5 accuracy")


def perfect(rng: np.random.Generator) -> Broken:
    """Validation accuracy 1.0000 after one epoch."""
    row = with_evaluation(rng, True)
    for k, point in enumerate(row.reproduction.reported.curve):
        point.test_accuracy_percent = 100.0 if k == 0 else point.train_accuracy_percent
    return Broken(row)


def loss_of_nobody(rng: np.random.Generator) -> Broken:
    """A log whose loss in one epoch has its first digits exchanged."""
    row = with_evaluation(rng, True)
    point = row.reproduction.reported.curve[int(rng.integers(0, len(row.reproduction.reported.curve)))]
    point.train_loss = (point.train_loss or 0) * float(rng.choice([0.1, 2.5]))
    return Broken(row)


KINDS: tuple[Callable[[np.random.Generator], Broken], ...] = (
    f1_of_averages,
    _of_kind("micro", "SVHN"),
    _of_kind("micro", "CIFAR-10, Fashion-MNIST"),
    _of_kind("weighted", "SVHN"),
    _of_other_epoch(0),
    _of_other_epoch(1),
    _of_other_epoch(2),
    _of_other_epoch(3),
    _typo("wrong", False),
    _typo("wrong", True),
    _typo("exchanged", False),
    _typo("exchanged", True),
    _typo("exchanged", False, stated=False),
    exchanged,
    accuracy_by_batch,
    accuracy_by_batch_elsewhere,
    all_by_batch,
    drop_last,
    training_accuracy,
    top5,
    perfect,
    loss_of_nobody,
)


def judge_honest(task: tuple[int, int, bool]) -> Counter[str]:
    """Counts what is found in honest rows of one habit."""
    habit, seed, stated = task
    rng = np.random.default_rng([seed, habit, stated])
    counted: Counter[str] = Counter()
    for _ in range(CHUNK):
        row = HABITS[habit](rng, stated)
        counted["rows"] += 1
        counted.update({finding.strength for finding in audit_row(row)})
    return counted


def judge_broken(task: tuple[int, int]) -> tuple[Counter[str], list[float]]:
    """Counts what is found in broken rows of one kind, and times it."""
    kind, seed = task
    rng = np.random.default_rng([seed, kind])
    counted: Counter[str] = Counter()
    seconds = []
    for _ in range(CHUNK):
        broken = KINDS[kind](rng)
        start = time.process_time()
        found = audit_row(broken.row)
        seconds.append(time.process_time() - start)
        counted["rows"] += 1
        counted.update({finding.strength for finding in found})
        counted["found"] += bool(found)
        slips = (
            {s.slip for s in explanations(broken.row, broken.others)} if found else {s.slip for s in odd(broken.row)}
        )
        counted["told"] += bool(broken.slip and (found or slips))
        counted["named"] += broken.slip in slips
        if len(slips) == 1:
            counted["alone"] += 1
            counted["alone named"] += broken.slip in slips
    return counted, seconds


def count_by_chance(seed: int) -> Counter[str]:
    """How many honest rows each slip fits as well."""
    rng = np.random.default_rng([seed, 99])
    counted: Counter[str] = Counter()
    for _ in range(CHUNK):
        run, v = _honest(rng, draw_set(rng))
        row = _stated(v, run)
        counted["rows"] += 1
        counted.update({slip.slip for slip in explanations(row)})
    return counted


CHUNK = 50


def main() -> int:
    """Prints the tables; 1 where `BY_CHANCE` is not what is counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--honest", type=int, default=20_000, help="honest rows; 0 for none (default: %(default)s)")
    parser.add_argument(
        "--broken", type=int, default=100, help="broken rows of each kind; 0 for none (default: %(default)s)"
    )
    parser.add_argument(
        "--chance", type=int, default=1000, help="honest rows for slips; 0 for none (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    arguments = parser.parse_args()
    wrong = False
    with Pool(arguments.processes) as pool:
        if arguments.honest:
            _print_honest(pool, -(-arguments.honest // (2 * CHUNK * len(HABITS))))
        if arguments.broken:
            _print_broken(pool, -(-arguments.broken // CHUNK))
        if arguments.chance:
            wrong = _print_chance(pool, -(-arguments.chance // CHUNK))
    return int(wrong)


def _print_honest(pool: Any, chunks: int) -> None:
    tasks = [
        (habit, seed, stated) for habit in range(len(HABITS)) for stated in (True, False) for seed in range(chunks)
    ]
    found: dict[tuple[int, bool], Counter[str]] = {}
    for task, counted in zip(tasks, pool.imap(judge_honest, tasks), strict=True):
        found.setdefault((task[0], task[2]), Counter()).update(counted)
    print("| honest habit | said | rows | impossible | unlikely | contradicts | unusual |")
    print("|---|---|---|---|---|---|---|")
    for (habit, stated), counted in found.items():
        cells = " | ".join(str(counted[s]) for s in ("rows", "impossible", "unlikely", "contradicts", "unusual"))
        print(f"| {_sentence(HABITS[habit])} | {'yes' if stated else 'no'} | {cells} |")
    total = sum(found.values(), Counter())
    print(
        f"\n{total['rows']:,} honest rows: {total['impossible']} impossible, {total['unlikely']} unlikely\n", flush=True
    )


def _print_broken(pool: Any, chunks: int) -> None:
    kinds = [(kind, seed) for kind in range(len(KINDS)) for seed in range(chunks)]
    seconds: list[float] = []
    caught: dict[int, Counter[str]] = {}
    for (kind, _), (counted, times) in zip(kinds, pool.imap(judge_broken, kinds), strict=True):
        caught.setdefault(kind, Counter()).update(counted)
        seconds += times
    print("| broken how | rows | impossible | unlikely | unusual | slip named, if anything is said | … if one fits |")
    print("|---|---|---|---|---|---|---|")
    for kind, counted in caught.items():
        cells = " | ".join(str(counted[s]) for s in ("rows", "impossible", "unlikely", "unusual"))
        named = f"{counted['named']} of {counted['told']} | {counted['alone named']} of {counted['alone']}"
        print(f"| {_sentence(KINDS[kind])} | {cells} | {named} |")
    print(f"\nCPU seconds to judge a broken row: median {median(seconds):.3f}, most {max(seconds):.3f}\n", flush=True)


def _print_chance(pool: Any, chunks: int) -> bool:
    """Whether `BY_CHANCE` is not what is counted."""
    chance: Counter[str] = sum(pool.imap(count_by_chance, range(chunks)), Counter())
    print("| slip | fits of 10,000 honest rows | BY_CHANCE |")
    print("|---|---|---|")
    wrong = False
    for slip, held in BY_CHANCE.items():
        count = 10_000 * chance[slip] / chance["rows"]
        wrong |= abs(count - held) > 30 + 4 * (10_000 * max(count, 1) / chance["rows"]) ** 0.5
        print(f"| {slip} | {count:.0f} | {held} |")
    return wrong


def _sentence(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
