"""Decides whether any confusion matrix prints as a row does: by a witness, or a proof that there is none.

A class of n images with t hits that is predicted m times adds t to the hits, m to the predictions, t / n to recall,
t / m to precision and 2 t / (n + m) to F1, each divided by the number of classes for macro averages, or weighted by
n / N. Where it is never predicted its precision is 0, or 1, or left out of the mean: scikit-learn's zero_division.
Nothing else of a matrix is printed, and a matrix with these diagonals and column sums exists when they add up and no
column needs more than the other rows have left (`matrix` builds it). So a row asks for integers t and m of each class
with given sums.

Small cases are tried one and all. Else the sums must lie in the sum of the convex hulls of what each class can add:
a linear program, whose multipliers are a proof when they are checked in exact arithmetic (`Hull.proves`).
Otherwise a search looks for a witness; of a small set that has none, all matrices are tried that the hull's multipliers
leave. What is then too much stays undecided.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifar_hpc.verify.forensics import witness
from cifar_hpc.verify.forensics.question import F1, HITS, PRECISION, PREDICTED, RECALL, MatrixMetric, Question

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Multipliers = tuple[Fraction, ...]
"""One for each of the five sums."""
SMALL_SET, MOST_CLASSES = 2_000, 12
"""Images and classes up to which a set is small: its matrices are tried where neither hull nor search decides."""
FEW_TRIED, MOST_TRIED = 200_000, 20_000_000
"""Choices that may be tried at once, and in the end: a hundredth of a second, and half a second."""


@dataclass(frozen=True)
class Decision:
    """Whether a confusion matrix prints as a row does.

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
    """Decides whether one confusion matrix prints so.

    Args:
        question: what must be printed; a mean over several runs is held against the hull alone.
        search: whether to look for a witness where the hull leaves room.
    """
    if question.hits is None or any(low > high for low, high in question.box):
        return Decision("impossible", "counting")
    one = question.runs == 1
    if one and (tried := try_all(question, (), FEW_TRIED)) is not None:
        return tried
    hull = Hull(question)
    if (multipliers := hull.refute()) is not None:
        return Decision("impossible", "hull", multipliers=multipliers)
    if search and one and (found := witness.find(question)) is not None:
        return Decision("possible", "witness", *found)
    small = search and one and _is_small(question)
    return (try_all(question, hull.cuts(), MOST_TRIED) if small else None) or Decision("undecided")


def _is_small(question: Question) -> bool:
    return question.images <= SMALL_SET and 2 <= len(question.sizes) <= MOST_CLASSES


def try_all(question: Question, cuts: Sequence[Floats], most: int) -> Decision | None:
    """Tries every matrix of a small set; null where there are too many.

    First the hits of one class after another, then what is taken for it. A beginning is dropped where it falls short of
    a cut with whatever the other classes can add. Scores are floats that err by less than the guard, and what passes
    is checked exactly: so nothing that prints so is passed over. Classes of one size are interchangeable: their hits
    descend.

    Args:
        question: what must be printed, by one matrix.
        cuts: multipliers; with any, the sums of what prints so have at least the score of the box's nearest corner.
        most: choices that may be tried; a twentieth as many beginnings may be kept, for the memory's sake.
    """
    if not _is_small(question):
        return None
    assert question.hits is not None
    order = np.argsort(question.sizes, kind="stable")
    sizes, images, guard = [question.sizes[k] for k in order], question.images, 1e-9
    most_wrong = images - int(question.hits[0] * images)
    # Hits come first, as they leave the least.
    y = np.array([*(sign * one for one in np.eye(5) for sign in (1.0, -1.0)), *cuts])
    low, high = (np.array([float(side[k]) for side in question.box]) for k in (0, 1))
    least = np.where(y > 0, y * low, y * high).sum(axis=1) - guard
    if len(y) * sum((n + 1) * (most_wrong + 1) for n in set(sizes)) > most // 4:
        return None
    scores_of = {n: _scores(question, n, most_wrong, y) for n in set(sizes)}
    best_of = {n: scores.max(axis=2) for n, scores in scores_of.items()}
    t, score, tried = np.zeros((1, 0), dtype=np.int64), np.zeros((len(y), 1)), 0
    for place, n in enumerate(sizes):
        tried += len(t) * (n + 1)
        if tried > most:
            return None
        rest = sum((best_of[other].max(axis=1) for other in sizes[place + 1 :]), np.zeros(len(y)))
        rows, own = _passing(score, best_of[n][:, None, :], np.zeros(len(t), dtype=np.int64), (least - rest)[:, None])
        if place and n == sizes[place - 1]:
            descends = own <= t[rows, -1]
            rows, own = rows[descends], own[descends]
        if len(rows) > most // 20:
            return None
        score = score[:, rows] + best_of[n][:, own]
        t = np.concatenate([t[rows], own[:, None]], axis=1)
    left, false = images - t.sum(axis=1), np.zeros((len(t), 0), dtype=np.int64)
    score = np.zeros((len(y), len(t)))
    for place, n in enumerate(sizes[:-2]):
        tried += len(t) * (most_wrong + 1)
        if tried > most:
            return None
        rest = sum((best_of[other][:, t[:, k]] for k, other in enumerate(sizes) if k > place), np.zeros(score.shape))
        rows, own = _passing(score, scores_of[n], t[:, place], least[:, None] - rest)
        rows, own = rows[own <= left[rows]], own[own <= left[rows]]
        if len(rows) > most // 20:
            return None
        score = score[:, rows] + scores_of[n][:, t[rows, place], own]
        false = np.concatenate([false[rows], own[:, None]], axis=1)
        t, left = t[rows], left[rows] - own
    if tried + (left + 1).sum() > most:
        return None
    back = np.argsort(order)
    for some in np.array_split(np.arange(len(t)), len(t) * (most_wrong + 1) // FEW_TRIED + 1):
        for row, taken in _last_two(t[some], left[some], score[:, some], least, [scores_of[n] for n in sizes[-2:]]):
            hits = t[some[row]]
            predicted = hits + np.concatenate([false[some[row]], taken])
            found = tuple(hits[back].tolist()), tuple(predicted[back].tolist())
            if question.prints(*found):
                return Decision("possible", "witness", *found)
    return Decision("impossible", "trying all")


def _last_two(
    t: Ints, left: Ints, score: Floats, least: Floats, scores: Sequence[Floats]
) -> Iterator[tuple[int, Ints]]:
    """Yields each beginning with all ways to share out its remaining images among the last two classes."""
    rows = np.repeat(np.arange(len(t)), left + 1)
    one = np.arange(len(rows)) - np.repeat(np.cumsum(left + 1) - left - 1, left + 1)
    for cut in (*range(2 * PRECISION, len(least)), *range(2 * PRECISION)):  # the narrowest first
        both = scores[0][cut][t[rows, -2], one] + scores[1][cut][t[rows, -1], left[rows] - one]
        enough = both >= least[cut] - score[cut][rows]
        rows, one = rows[enough], one[enough]
    yield from zip(rows.tolist(), np.stack([one, left[rows] - one], axis=1), strict=True)


def _scores(question: Question, size: int, most_wrong: int, y: Floats) -> Floats:
    """Computes the most that a class adds to each cut's score, by its hits and the images wrongly taken for it."""
    t, false = np.arange(size + 1)[:, None], np.arange(most_wrong + 1)[None, :]
    sums = _sums(question, size, t + 0 * false, t + false)
    scores: Floats = np.tensordot(y, sums, axes=(1, -1))
    scores[:, 0, 0] += np.maximum(y[:, PRECISION], 0) * float(question.weight(size))  # never predicted
    scores[:, (size - t) + false > most_wrong] = -np.inf
    return scores


def _passing(score: Floats, scores: Floats, at: Ints, least: Floats) -> tuple[Ints, Ints]:
    """Finds the beginnings and the choices for one class that together reach these scores, cut by cut."""
    least = np.broadcast_to(least, score.shape)
    rows, own = np.nonzero(scores[0][at] >= (least[0] - score[0])[:, None])
    for cut in range(1, len(score)):
        enough = scores[cut][at[rows], own] >= least[cut][rows] - score[cut][rows]
        rows, own = rows[enough], own[enough]
    return rows, own


def _range_of_hits(size: int, wrong: int) -> tuple[Ints, Ints, Ints]:
    """Computes the fewest and the most hits of a class that is predicted m times, for every m.

    Of `wrong` images at most, which lie outside the diagonal, n - t are the class' own and m - t are taken for it.
    """
    m = np.arange(size + wrong + 1)
    low, high = np.maximum(0, -((wrong - size - m) // 2)), np.minimum(size, m)
    there = low <= high
    return low[there], m[there], high[there]


def _sums(question: Question, size: int, t: Ints, m: Ints) -> Floats:
    """Computes what a class adds to the five sums, along a last axis; no precision where it is never predicted."""
    weight, images = float(question.weight(size)), question.images
    precision = t / np.maximum(m, 1)
    return np.stack(
        [t / images, m / images, weight * t / size, weight * precision, weight * 2 * t / (size + m)], axis=-1
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
        # Where it is never predicted the first half has the precision 0, and the second 1: what is set for it, or that
        # it is left out of the mean, lies between.
        self.precise = self.t + ((self.m == 0) & (np.arange(len(self.m)) >= len(m)))
        self.sums[:, PRECISION] = float(self.weight) * self.precise / np.maximum(self.m, 1)

    def start(self, most: int) -> Ints:
        """Picks a few points to begin with, denser where there are about as many predictions as images."""
        half = len(self.m) // 2
        spaced = np.unique(np.geomspace(1, max(half, 2), most).astype(int)) - 1
        at = int(np.searchsorted(self.m[:half], self.size))
        near = np.concatenate([at + spaced, at - spaced, [0, half - 1]])
        near = np.unique(near[(near >= 0) & (near < half)])
        return np.concatenate([near, near + half])

    def most(self, y: Floats) -> float:
        """Computes the most that multipliers times sums can be, as a float."""
        return float((self.sums @ y).max())

    def exact_most(self, multipliers: Sequence[Fraction]) -> Fraction:
        """Bounds from above what multipliers times sums can be, in integers that are rounded up."""
        scale = 2 ** (58 - self.images.bit_length())
        y, share = [m * scale for m in multipliers], Fraction(1, self.images)
        t, m = self.t, self.m
        whole = t * ceil(y[HITS] * share + y[RECALL] * self.weight / self.size) + m * ceil(y[PREDICTED] * share)
        precision = -((-self.precise * ceil(y[PRECISION] * self.weight)) // np.maximum(m, 1))
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
        """Checks whether the multipliers prove that there is no such matrix; exact.

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
        """Looks for multipliers that part all matrices from all that prints so; null if it finds none."""
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
        """Bounds a sum within the hull, rounded outward; null where the hull has no room."""
        if self.refute() is not None:
            return None
        least, most = (sign * self._most(sign * np.eye(5)[feature])[0] for sign in (-1.0, 1.0))
        return max(least, 0.0), min(most, 1.0)

    def cuts(self) -> list[Floats]:
        """Finds multipliers of which the classes must have nearly the most, with precision or F1 near its own ends."""
        found: list[Floats] = []
        for metric, feature in (("precision", PRECISION), ("f1", F1)):
            if getattr(self.question, metric) is not None:
                left_out: dict[str, Any] = {metric: None}
                wider = Hull(replace(self.question, **left_out))
                for sign in (-1.0, 1.0):
                    _, y = wider._most(sign * np.eye(5)[feature])
                    found.append(y / max(np.abs(y).max(), 1.0))
        return found

    def _most(self, objective: Floats) -> tuple[float, Floats]:
        """Bounds an objective from above within the box, and returns the multipliers that show it."""
        bound, best = np.inf, objective
        for _ in range(40):
            value, y = self._program(objective)
            own = sum(c.count * c.most(y) for c in self.classes) - self._least(y - objective)
            bound, best = min((bound, best), (float(own), y), key=lambda pair: pair[0])
            if bound - value < 1e-6 or not self._add_columns(y):
                break
        return bound, best

    def _program(self, objective: Floats | None) -> tuple[float, Floats]:
        """Solves the linear program over the columns so far; returns its optimum and the multipliers of the five sums.

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


FEATURE: dict[MatrixMetric, int] = {"accuracy": HITS, "precision": PRECISION, "recall": RECALL, "f1": F1}


def reach(question: Question, metric: MatrixMetric) -> tuple[float, float] | None:
    """Bounds a metric when the others print as they do; null where these are impossible by themselves."""
    left_out: dict[str, Any] = {metric: None}
    others = replace(question, **left_out)
    if metric == "recall" and question.recall_is_accuracy:
        metric = "accuracy"
    return None if others.hits is None else Hull(others).reach(FEATURE[metric])


def matrix(sizes: Sequence[int], hits: Sequence[int], predicted: Sequence[int]) -> Ints:
    """Fills a confusion matrix with these sums of rows, diagonal, and sums of columns.

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
