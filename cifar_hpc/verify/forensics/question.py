"""What one confusion matrix must print, and what of a matrix is printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import Literal

from cifar_hpc.verify.forensics.printed import Interval

MatrixMetric = Literal["accuracy", "precision", "recall", "f1"]
MATRIX_METRICS: tuple[MatrixMetric, ...] = ("accuracy", "precision", "recall", "f1")

HITS, PREDICTED, RECALL, PRECISION, F1 = range(5)
"""The sums: hits and predictions as shares of all images, and the three averages."""

ANY: Interval = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Question:
    """What a matrix must print, as shares of 1.

    Attributes:
        sizes: images of each class.
        accuracy: interval of what prints as the row's accuracy; null where it is not printed.
        precision: the same of the average over classes.
        recall: the same of the average over classes.
        f1: the same of the average over classes.
        weighted: whether classes are weighted by their images, or all alike (macro averages).
        runs: number of matrices that the values are means over; null for any number, of batches too.
    """

    sizes: tuple[int, ...]
    accuracy: Interval | None = None
    precision: Interval | None = None
    recall: Interval | None = None
    f1: Interval | None = None
    weighted: bool = False
    runs: int | None = 1

    @property
    def images(self) -> int:
        """Of the whole test set."""
        return sum(self.sizes)

    @property
    def recall_is_accuracy(self) -> bool:
        """Whether average recall counts the hits: with weights n / N, or on a balanced set."""
        return self.weighted or len(set(self.sizes)) == 1

    def weight(self, size: int) -> Fraction:
        """Returns the share of a class of this size in the averages."""
        return Fraction(size, self.images) if self.weighted else Fraction(1, len(self.sizes))

    @cached_property
    def hits(self) -> Interval | None:
        """What the share of hits may be: whole numbers of images; null when no whole number is left."""
        low, high = self.accuracy or ANY
        if self.recall_is_accuracy and self.recall is not None:
            low, high = max(low, self.recall[0]), min(high, self.recall[1])
        if self.runs is not None:
            grid = self.images * self.runs
            low, high = Fraction(ceil(low * grid), grid), Fraction(floor(high * grid), grid)
        return (low, high) if low <= high else None

    @property
    def box(self) -> list[Interval]:
        """What each of the five sums may be."""
        recall = ANY if self.recall_is_accuracy else self.recall or ANY
        assert self.hits is not None
        return [self.hits, (Fraction(1), Fraction(1)), recall, self.precision or ANY, self.f1 or ANY]

    def sums(self, hits: Sequence[int], predicted: Sequence[int]) -> list[Fraction]:
        """Computes the five sums of one matrix; no precision of a class that is never predicted."""
        weights = [self.weight(n) for n in self.sizes]
        rows = list(zip(weights, self.sizes, map(int, hits), map(int, predicted), strict=True))
        return [
            Fraction(sum(t for _, _, t, _ in rows), self.images),
            Fraction(sum(m for _, _, _, m in rows), self.images),
            sum((w * Fraction(t, n) for w, n, t, _ in rows), Fraction(0)),
            sum((w * Fraction(t, m) for w, _, t, m in rows if m), Fraction(0)),
            sum((w * Fraction(2 * t, n + m) for w, n, t, m in rows), Fraction(0)),
        ]

    def prints(self, hits: Sequence[int], predicted: Sequence[int]) -> bool:
        """Checks whether one matrix with these diagonal and column sums exists and prints so; exact."""
        wrong = sum(self.sizes) - sum(map(int, hits))
        fits = all(
            0 <= t <= n and t <= m and (n - t) + (m - t) <= wrong
            for n, t, m in zip(self.sizes, map(int, hits), map(int, predicted), strict=True)
        )
        sums = self.sums(hits, predicted)
        # Of a class that is never predicted the precision is 0, or 1, or left out of the mean.
        none = sum((self.weight(n) for n, m in zip(self.sizes, predicted, strict=True) if not m), Fraction(0))
        precision = sums[PRECISION]
        for sums[PRECISION] in {precision, precision + none, precision / (1 - none)}:
            if fits and all(low <= z <= high for z, (low, high) in zip(sums, self.box, strict=True)):
                return True
        return False
