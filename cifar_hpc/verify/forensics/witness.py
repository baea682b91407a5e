"""Looks for a confusion matrix that prints as a row does.

It starts near a matrix whose classes are all alike, and moves hits and predictions between two classes as long as
that brings the averages nearer to what is printed. What it finds is checked exactly; that it finds nothing says
nothing.
"""

import numpy as np
from numpy.typing import NDArray

from cifar_hpc.verify.forensics.question import F1, PRECISION, RECALL, Question

STEPS, MOST_CLASSES = 80, 16
"""Moves from each beginning, and classes among which a move is sought at a time."""

SPREADS = (0.03, 0.1, 0.0, 0.3)
"""How unlike the classes are at each beginning, as a share of their images."""


NARROW = 1e-5
"""Width of an interval below which a search has little hope, such as that of a float32 with all digits."""


def find(question: Question) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Looks for hits and predictions of each class that print so; null where it finds none."""
    search = _Search(question)
    if search.unit.min() < NARROW:
        return None
    for spread in SPREADS:
        if (found := search.run(spread)) is not None:
            return found
    return None


class _Search:
    def __init__(self, question: Question) -> None:
        assert question.hits is not None
        self.question, self.random = question, np.random.default_rng(0)
        self.sizes = np.array(question.sizes)
        self.weights = np.array([float(question.weight(n)) for n in question.sizes])
        box = [question.box[k] for k in (RECALL, PRECISION, F1)]
        self.low, self.high = (np.array([float(side[k]) for side in box]) for k in (0, 1))
        self.unit = np.maximum(self.high - self.low, 1e-9)
        self.hits = [int(side * question.images) for side in question.hits]
        steps = 2 ** np.arange(max(int(self.sizes.min() // 2), 1).bit_length())
        self.steps = np.concatenate([steps, -steps])

    def run(self, spread: float) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Moves from one beginning towards what must be printed."""
        t, m = self._begin(spread)
        for _ in range(STEPS):
            if self._distance(self._averages(t, m)) == 0 and self.question.prints(t.tolist(), m.tolist()):
                return tuple(t.tolist()), tuple(m.tolist())
            t, m = self._move(t, m)
        return None

    def _begin(self, spread: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sizes, images = self.sizes, int(self.sizes.sum())
        total = int(self.random.integers(self.hits[0], self.hits[1] + 1))
        if self.question.accuracy is None:  # about as good as the other averages are
            middle = np.where(self.high - self.low < 1, (self.low + self.high) / 2, np.nan)
            good = 1.0 if np.isnan(middle).all() else float(np.nanmean(middle))
            total = int(np.clip(round(good * images), self.hits[0], self.hits[1]))
        t = np.clip(sizes * (total / images + spread * self.random.standard_normal(len(sizes))), 0, sizes).astype(int)
        m = np.maximum(t, (sizes * (1 + spread * self.random.standard_normal(len(sizes)))).astype(int))
        for values, least, most, goal in ((t, np.zeros_like(t), sizes, total), (m, t, 2 * images + t, images)):
            while (missing := goal - int(values.sum())) != 0:
                room = most - values if missing > 0 else values - least
                open_ = np.flatnonzero(room > 0)
                some = np.minimum(room[open_], max(abs(missing) // len(open_), 1))[: abs(missing)]
                values[open_[: len(some)]] += np.sign(missing) * some
        return t, m

    def _terms(self, t: NDArray[np.int64], m: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Computes what classes add to recall, precision and F1; along a last axis."""
        shape = (-1,) + (1,) * (t.ndim - 1)
        size, weight = self.sizes[chosen].reshape(shape), self.weights[chosen].reshape(shape)
        return np.stack([weight * t / size, weight * t / np.maximum(m, 1), weight * 2 * t / (size + m)], axis=-1)

    def _averages(self, t: NDArray[np.int64], m: NDArray[np.int64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = self._terms(t, m, np.arange(len(t))).sum(axis=0)
        return total

    def _distance(self, averages: NDArray[np.float64]) -> NDArray[np.float64]:
        away = np.maximum(np.maximum(self.low - averages, averages - self.high), 0)
        distance: NDArray[np.float64] = (away / self.unit).sum(axis=-1)
        return distance

    def _move(self, t: NDArray[np.int64], m: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Picks the best of all moves of hits, of predictions, or of both, from one class to another.

        Where none is better, it takes one at random, which leads out of a dead end.
        """
        count = len(t)
        chosen = np.arange(count)
        if count > MOST_CLASSES:
            chosen = self.random.choice(count, MOST_CLASSES, replace=False)
        now, both = self._averages(t, m), np.array([[1, 0], [0, 1], [1, 1]])
        # class, kind of move, step
        new_t = t[chosen][:, None, None] + both[None, :, :1] * self.steps
        new_m = m[chosen][:, None, None] + both[None, :, 1:] * self.steps
        valid = (new_t >= 0) & (new_t <= self.sizes[chosen][:, None, None]) & (new_m >= new_t)
        change = self._terms(np.where(valid, new_t, 0), np.where(valid, new_m, 1), chosen)
        change -= self._terms(t[chosen], m[chosen], chosen)[:, None, None]
        half = len(self.steps) // 2  # what one gains the other loses
        pair = change[:, None, :, :half] + change[None, :, :, half:]
        allowed = valid[:, None, :, :half] & valid[None, :, :, half:]
        allowed[np.arange(len(chosen)), np.arange(len(chosen))] = False
        distance = np.where(allowed, self._distance(now + pair), np.inf)
        best = int(distance.argmin())
        if not distance.flat[best] < self._distance(now) * (1 - 1e-9):
            options = np.flatnonzero(allowed)
            if len(options) == 0:
                return t, m
            near = options[np.argsort(distance.flat[options], kind="stable")[: max(len(options) // 10, 1)]]
            best = int(self.random.choice(near))
        first, second, kind, step = np.unravel_index(best, distance.shape)
        t, m = t.copy(), m.copy()
        for place, sign in ((chosen[first], 1), (chosen[second], -1)):
            t[place] += sign * both[kind, 0] * self.steps[step]
            m[place] += sign * both[kind, 1] * self.steps[step]
        return t, m
