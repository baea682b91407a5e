"""Whether any confusion matrix prints as a row does: a witness, or a proof that there is none.

A class of n images with t hits that is predicted m times adds t to the hits, m to the predictions, t / n to recall,
t / m to precision (0 where it is never predicted, as in scikit-learn and torchmetrics) and 2 t / (n + m) to F1, each
divided by the number of classes for macro averages, or weighted by n / N. Nothing else of a matrix is printed, and a
matrix with these diagonals and column sums exists when they add up and no column needs more than the other rows have
left (`matrix` builds it). So a row asks for integers t and m of each class with given sums.

Small cases are tried one and all. Else the sums must lie in the sum of the convex hulls of what each class can add:
a linear program, whose multipliers are a proof when they are checked in exact arithmetic (`Hull.proves`).
Otherwise a search looks for a witness; what it does not find stays undecided.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, factorial, prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifar_hpc.verify.forensics import witness
from cifar_hpc.verify.forensics.question import F1, HITS, PRECISION, PREDICTED, RECALL, Metric, Question

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Multipliers = tuple[Fraction, ...]
"""One for each of the five sums."""
MOST_TRIED = 6_000_000
"""Combinations up to which a case is small: half a second."""
MOST_CLASSES = 12
"""Classes up to which a case can be small; the ways to share out hits among more need no counting."""


@dataclass(frozen=True)
class Decision:
    """The answer.

    Attributes:
        kind: `possible` with a witness, `impossible` with a proof, or `undecided`.
        by: what proves it: `counting` (no whole number of images prints so), `trying all`, `hull`, or a `witness`.
        hits: of each class, in the witness.
        predicted: how often each class is predicted, in the witness.
        multipliers: of the five sums, of a proof by the hull; `Hull.proves` checks them.
    """

    kind: Literal["possible", "impossible", "undecided"]
    by: str = ""
    hits: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()
    multipliers: Multipliers = ()


@lru_cache(maxsize=4096)
def decide(question: Question, search: bool = True) -> Decision:
    """Whether a matrix prints so.

    Args:
        question: what must be printed; a mean over several runs is held against the hull alone.
        search: whether to look for a witness where the hull leaves room.
    """
    if question.hits is None:
        return Decision("impossible", "counting")
    if question.runs == 1 and (small := try_all(question)) is not None:
        return small
    if (multipliers := Hull(question).refute()) is not None:
        return Decision("impossible", "hull", multipliers=multipliers)
    if search and question.runs == 1 and (found := witness.find(question)) is not None:
        return Decision("possible", "witness", *found)
    return Decision("undecided")


def try_all(question: Question) -> Decision | None:
    """Tries every matrix of a small case; null where there are too many.

    Sums are floats that err by less than the guard, and what passes with the guard is checked exactly: so nothing
    that prints so is passed over. Classes of one size are interchangeable: their hits descend.
    """
    assert question.hits is not None
    sizes, images, guard = question.sizes, question.images, 1e-9
    if len(sizes) > MOST_CLASSES:
        return None
    fewest, most = (int(side * images) for side in question.hits)
    ways = np.ones(1)
    for n in sizes:
        ways = np.convolve(ways, np.ones(n + 1))
    same = prod(factorial(count) for count in Counter(sizes).values())
    count = sum(ways[t] / same * comb(images - t + len(sizes) - 1, len(sizes) - 1) for t in range(fewest, most + 1))
    if max(count, ways[fewest : most + 1].sum()) > MOST_TRIED:
        return None
    weights = [float(question.weight(n)) for n in sizes]
    low, high = (np.array([float(side[k]) for side in question.box]) + (2 * k - 1) * guard for k in (0, 1))
    vectors = _vectors(sizes, range(fewest, most + 1))
    for i in range(1, len(sizes)):
        if sizes[i] == sizes[i - 1]:
            vectors = vectors[vectors[:, i] <= vectors[:, i - 1]]
    for total in range(fewest, most + 1):
        hits, wrong = vectors[vectors.sum(axis=1) == total], images - total
        recall = (hits / np.array(sizes)) @ np.array(weights)
        hits = hits[(recall >= low[RECALL]) & (recall <= high[RECALL])]
        taken = _vectors((wrong,) * len(sizes), range(wrong, wrong + 1))
        for some in np.array_split(hits, max(len(hits) * len(taken) // 500_000, 1)):
            precision, f1 = np.zeros((len(some), len(taken))), np.zeros((len(some), len(taken)))
            fits = np.ones((len(some), len(taken)), dtype=bool)
            for c, n in enumerate(sizes):
                t, false = some[:, c, None], taken[None, :, c]
                precision += weights[c] * t / np.maximum(t + false, 1)
                f1 += weights[c] * 2 * t / (n + t + false)
                fits &= (n - t) + false <= wrong
            for value, feature in ((precision, PRECISION), (f1, F1)):
                fits &= (value >= low[feature]) & (value <= high[feature])
            for a, b in np.argwhere(fits):
                t, m = some[a].tolist(), (some[a] + taken[b]).tolist()
                if question.prints(t, m):
                    return Decision("possible", "witness", tuple(t), tuple(m))
    return Decision("impossible", "trying all")


def _vectors(most: Sequence[int], totals: range) -> Ints:
    """All vectors of whole numbers from 0 to these, with these totals."""
    vectors = np.zeros((1, 0), dtype=np.int64)
    for place, own in enumerate(most):
        longer = np.tile(np.arange(own + 1), len(vectors))
        vectors = np.concatenate([np.repeat(vectors, own + 1, axis=0), longer[:, None]], axis=1)
        total = vectors.sum(axis=1)
        vectors = vectors[(total < totals.stop) & (total + sum(most[place + 1 :]) >= totals.start)]
    return vectors


def _range_of_hits(size: int, wrong: int) -> tuple[Ints, Ints, Ints]:
    """The fewest and the most hits of a class that is predicted m times, for every m.

    Of `wrong` images at most, which lie outside the diagonal, n - t are the class' own and m - t are taken for it.
    """
    m = np.arange(size + wrong + 1)
    low, high = np.maximum(0, -((wrong - size - m) // 2)), np.minimum(size, m)
    there = low <= high
    return low[there], m[there], high[there]


def _sums(question: Question, size: int, t: Ints, m: Ints) -> Floats:
    """What a class adds to the five sums."""
    weight, images = float(question.weight(size)), question.images
    precision = np.divide(t, m, out=np.zeros(len(t)), where=m > 0)
    return np.stack(
        [t / images, m / images, weight * t / size, weight * precision, weight * 2 * t / (size + m)], axis=1
    )


class _Class:
    """What the classes of one size can add: for every number of predictions, from the fewest to the most hits.

    For one m all sums are linear in t, so the extremes of any weighing of them lie at the ends.
    """

    def __init__(self, question: Question, size: int, count: int, wrong: int) -> None:
        self.size, self.count = size, count
        self.weight, self.images = question.weight(size), question.images
        low, m, high = _range_of_hits(size, wrong)
        self.t, self.m = np.concatenate([low, high]), np.concatenate([m, m])
        self.sums = _sums(question, size, self.t, self.m)

    def start(self, most: int) -> Ints:
        """A few points to begin with, denser about as many predictions as there are images."""
        half = len(self.m) // 2
        spaced = np.unique(np.geomspace(1, max(half, 2), most).astype(int)) - 1
        at = int(np.searchsorted(self.m[:half], self.size))
        near = np.concatenate([at + spaced, at - spaced, [0, half - 1]])
        near = np.unique(near[(near >= 0) & (near < half)])
        return np.concatenate([near, near + half])

    def most(self, y: Floats) -> float:
        """The most that multipliers times sums can be, as a float."""
        return float((self.sums @ y).max())

    def exact_most(self, multipliers: Sequence[Fraction]) -> Fraction:
        """At least the most that multipliers times sums can be, in integers that are rounded up."""
        scale = 2 ** (58 - self.images.bit_length())
        y, share = [m * scale for m in multipliers], Fraction(1, self.images)
        t, m = self.t, self.m
        whole = t * ceil(y[HITS] * share + y[RECALL] * self.weight / self.size) + m * ceil(y[PREDICTED] * share)
        precision = -((-t * ceil(y[PRECISION] * self.weight)) // np.maximum(m, 1))
        f1 = -((-2 * t * ceil(y[F1] * self.weight)) // (self.size + m))
        return Fraction(int((whole + precision + f1).max()), scale)


class Hull:
    """The sum of the classes' convex hulls, in which the five sums of every matrix lie, and of means over matrices."""

    def __init__(self, question: Question) -> None:
        assert question.hits is not None
        self.question, self.box = question, question.box
        self.low, self.high = (np.array([float(side[k]) for side in self.box]) for k in (0, 1))
        images = question.images
        # Of one matrix it is known how many images are wrong; of several each may have more.
        wrong = images - int(question.hits[0] * images) if question.runs == 1 else images
        self.classes = [_Class(question, n, count, wrong) for n, count in Counter(question.sizes).items()]
        self.columns = [c.start(20 if len(self.classes) == 1 else 10) for c in self.classes]

    def proves(self, multipliers: Multipliers) -> bool:
        """Whether the multipliers prove that there is no such matrix; exact.

        Multipliers times sums are at least `least` for whatever prints so, and at most `most` for any matrix.
        """
        if max(map(abs, multipliers), default=2) > 1:
            return False
        least = sum(y * (low if y > 0 else high) for y, (low, high) in zip(multipliers, self.box, strict=True))
        most = sum(c.count * c.exact_most(multipliers) for c in self.classes)
        return most < least

    def _least(self, y: Floats) -> float:
        return float(y @ np.where(y > 0, self.low, self.high))

    def refute(self) -> Multipliers | None:
        """Multipliers that have all matrices on one side and all that prints so on the other; null if none."""
        for _ in range(40):
            distance, y = self._program(None)
            norm = np.abs(y).max()
            if distance < 1e-10 or norm == 0:
                return None
            multipliers = tuple(Fraction(float(v)) for v in y / norm)
            if self.proves(multipliers):
                return multipliers
            if not self._add_columns(y):
                return None
        return None

    def reach(self, feature: int) -> tuple[float, float] | None:
        """The least and the greatest that a sum can be in the hull, rounded outward; null where it has no room."""
        if self.refute() is not None:
            return None
        least, most = (sign * self._most(sign * np.eye(5)[feature]) for sign in (-1.0, 1.0))
        return max(least, 0.0), min(most, 1.0)

    def _most(self, objective: Floats) -> float:
        """An upper bound of what an objective can be within the box."""
        bound = np.inf
        for _ in range(40):
            value, y = self._program(objective)
            bound = min(bound, sum(c.count * c.most(y) for c in self.classes) - self._least(y - objective))
            if bound - value < 1e-6 or not self._add_columns(y):
                break
        return float(bound)

    def _program(self, objective: Floats | None) -> tuple[float, Floats]:
        """The linear program over the columns so far, and the multipliers of the five sums.

        Without an objective: how far the columns' sums stay from the box. With one: the most that it can be within.
        """
        from scipy.optimize import linprog

        points = np.concatenate([c.sums[k] for c, k in zip(self.classes, self.columns, strict=True)])
        owner = np.repeat(np.arange(len(self.classes)), [len(k) for k in self.columns])
        slack = np.ones((10, 1)) if objective is None else np.full((10, 1), 1e-12)
        inside = np.concatenate([np.concatenate([-points.T, points.T]), -slack], axis=1)
        each = np.concatenate([np.eye(len(self.classes))[owner], np.zeros((1, len(self.classes)))]).T
        cost = np.zeros(len(points) + 1)
        if objective is None:
            cost[-1] = 1
        else:
            cost[:-1] = -points @ objective
        found: Any = linprog(
            cost,
            A_ub=inside,
            b_ub=np.concatenate([-self.low, self.high]),
            A_eq=each,
            b_eq=[c.count for c in self.classes],
            method="highs",
        )
        if found.status != 0:
            return np.inf, np.zeros(5)
        dual = -found.ineqlin.marginals
        y = dual[:5] - dual[5:]
        return (found.fun, y) if objective is None else (-found.fun, y + objective)

    def _add_columns(self, y: Floats) -> bool:
        """Adds the points that the multipliers ask for; says whether any is new."""
        grown = False
        for number, c in enumerate(self.classes):
            gain = c.sums @ y
            half = len(gain) // 2
            best = np.array([gain[:half].argmax(), half + gain[half:].argmax()])
            near = np.concatenate([best, best - 1, best + 1, best + 7, best - 7])
            joined = np.union1d(self.columns[number], near[(near >= 0) & (near < len(gain))])
            grown |= len(joined) > len(self.columns[number])
            self.columns[number] = joined
        return grown


FEATURE: dict[Metric, int] = {"accuracy": HITS, "precision": PRECISION, "recall": RECALL, "f1": F1}


def reach(question: Question, metric: Metric) -> tuple[float, float] | None:
    """Between what a metric lies when the others print as they do; null where these are impossible by themselves."""
    left_out: dict[str, Any] = {metric: None}
    others = replace(question, **left_out)
    if metric == "recall" and question.recall_is_accuracy:
        metric = "accuracy"
    return None if others.hits is None else Hull(others).reach(FEATURE[metric])


def matrix(sizes: Sequence[int], hits: Sequence[int], predicted: Sequence[int]) -> Ints:
    """A confusion matrix with these sums of rows, diagonal, and sums of columns.

    The mistakes are a flow from the classes that they are in to the classes that they are taken for.

    Raises:
        ValueError: if there is none.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    count = len(sizes)
    missed, taken = np.subtract(sizes, hits), np.subtract(predicted, hits)
    graph = np.zeros((2 * count + 2, 2 * count + 2), dtype=np.int32)
    graph[-2, :count], graph[count:-2, -1] = missed, taken
    graph[:count, count:-2] = (1 - np.eye(count, dtype=np.int32)) * int(missed.sum())
    flow = maximum_flow(csr_array(graph), 2 * count, 2 * count + 1)
    if flow.flow_value != missed.sum() or flow.flow_value != taken.sum():
        raise ValueError(f"no matrix has the rows {sizes}, the hits {hits} and the columns {predicted}")
    made: Ints = np.diag(hits) + flow.flow.toarray()[:count, count:-2].astype(np.int64)
    return made
