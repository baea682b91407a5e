"""The verdict rule, written once; docs/verdicts.md explains and docs/scripts/verdict_errors.py simulates it.

Runs of one experiment that differ in their seed scatter by a normal law, and the printed number is one more of them
(or the mean of several) if the report ran the same experiment. Two intervals, each right with 95 % however often and
whenever one looks, decide:

- of our mean: T. L. Lai's confidence sequence ("On confidence sequences", Annals of Statistics 4, 1976), after H.
  Wang and A. Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance"
  (2023). It holds every mean that the runs do not speak against by 20 to 1; Ville's inequality bounds how often the
  truth is not in it.
- of a printed number: Student's prediction interval, each look at a level of its own so that all looks together miss
  in one case of twenty, as C. Jennison and B. Turnbull, "Interim analyses: the repeated confidence interval approach"
  (JRSS B 51, 1989), do. More seeds of ours leave a single printed run as uncertain as it is, so infinitely many looks
  cost little.

The spread is that of the row's own seeds, together with those of like networks, each of which counts as one degree of
freedom (a moderated variance, as in G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004). Of their variances the mean of
the logarithms is taken, so that one network of another kind does not speak for all; the plain mean, which is larger,
where there is one seed alone. Seeds that scatter more than like networks do count alone: others may speak against a
spread that is small by chance, and may not make one smaller.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, geometric_mean
from typing import Literal

Verdict = Literal["reproduced", "plausible", "above", "below", "inconclusive", "not comparable"]

CONFIDENCE = 0.95

MOST_LIKE = 2
"""Degrees of freedom that like networks may count for, as each network scatters in its own way."""

MOST_SEEDS = 50
"""Where a verdict would take more, nobody can say well how many: simulation shows what is needed to be twice that."""

_MIXTURE = 5.0
"""Variance, in those of one run, of the means that Lai's mixture looks for: narrowest for 5 to 20 seeds."""


@dataclass(frozen=True)
class Judgement:
    """A verdict on one metric, with what it rests on.

    Attributes:
        reported: as printed.
        measured: mean over seeds.
        half_width: of the 95 % interval of the mean; null when there is none yet, or nothing was compared.
        seeds: number of seeds.
        margin: half-width of what counts as the same.
        verdict: see the module.
        more_seeds: how many more would settle an inconclusive verdict; null when it would take more than
            `MOST_SEEDS` in all.
        reason: why the verdict is what it is, where numbers do not say it.
        prediction_half_width: of the 95 % interval, about `measured`, of a number that the report could have printed.
        spread: standard deviation between seeds; null when nothing tells it.
        like_networks: number of those whose spread was taken together with the seeds' own.
        runs: of which the printed value is the mean.
    """

    reported: float | None
    measured: float | None
    half_width: float | None
    seeds: int
    margin: float
    verdict: Verdict
    more_seeds: int | None = None
    reason: str = ""
    prediction_half_width: float | None = None
    spread: float | None = None
    like_networks: int = 0
    runs: int = 1

    @property
    def prediction(self) -> tuple[float, float] | None:
        """Where a printed number would lie that comes from the same experiment."""
        if self.measured is None or self.prediction_half_width is None:
            return None
        return self.measured - self.prediction_half_width, self.measured + self.prediction_half_width


@dataclass(frozen=True)
class Spread:
    """What is known of how far runs scatter that differ in their seed.

    Attributes:
        deviation: standard deviation; null where nothing tells it.
        freedom: degrees of freedom it has been estimated with.
        like_networks: number of those that had a say.
    """

    deviation: float | None
    freedom: int
    like_networks: int = 0

    @classmethod
    def of(cls, measured: Sequence[float], like: Sequence[float] = ()) -> "Spread":
        """Pools the seeds' own spread with that of like networks, unless they scatter more.

        Args:
            measured: one value for each seed.
            like: standard deviation between seeds of each like network, above 0.
        """
        mean, freedom = math.fsum(measured) / len(measured), len(measured) - 1
        squares = math.fsum((x - mean) ** 2 for x in measured)
        average = geometric_mean if freedom else fmean
        theirs = average(s * s for s in like) if like else 0.0
        counted = min(len(like), MOST_LIKE) if squares <= freedom * theirs else 0
        if not freedom + counted:
            return cls(None, 0)
        deviation = math.sqrt((squares + counted * theirs) / (freedom + counted))
        return cls(deviation, freedom + counted, len(like) if counted else 0)

    @property
    def likely(self) -> float | None:
        """The deviation to plan further seeds with: a bit less than the median of what the true one may be.

        The median by E. Wilson's and M. Hilferty's law (1931); less, because a verdict comes as soon as seeds happen to
        scatter little enough, and simulation shows how much: docs/scripts/verdict_errors.py.
        """
        return self.deviation and 0.85 * self.deviation / (1 - 2 / (9 * self.freedom)) ** 1.5


def judge_metric(
    reported: float, measured: Sequence[float], margin: float, like: Sequence[float] = (), runs: int = 1
) -> Judgement:
    """Judges one metric.

    Args:
        reported: the printed value.
        measured: one value for each seed, in the same unit.
        margin: half-width of what counts as the same, in the same unit.
        like: standard deviation between seeds of each like network, in the same unit.
        runs: of which the printed value is the mean.

    Raises:
        ValueError: if nothing was measured.
    """
    if not measured:
        raise ValueError("nothing was measured")
    seeds, mean = len(measured), math.fsum(measured) / len(measured)
    spread = Spread.of(measured, like)
    off = abs(mean - reported)
    half = mean_half_width(seeds, spread)
    prediction = prediction_half_width(seeds, spread, runs)
    verdict: Verdict
    more = None
    if off + half <= margin:
        verdict = "reproduced"
    elif off > max(margin, prediction):
        verdict = "above" if mean > reported else "below"
    elif off <= prediction <= 2 * margin:
        verdict = "plausible"
    else:
        verdict, more = "inconclusive", seeds_to_settle(seeds, spread, off, margin, runs)
    return Judgement(
        reported=reported,
        measured=mean,
        half_width=half if math.isfinite(half) else None,
        seeds=seeds,
        margin=margin,
        verdict=verdict,
        more_seeds=more,
        prediction_half_width=prediction if math.isfinite(prediction) else None,
        spread=spread.deviation,
        like_networks=spread.like_networks,
        runs=runs,
    )


def mean_half_width(seeds: int, spread: Spread) -> float:
    """Returns half the width of the mean's 95 % interval, valid at any stopping time; infinite where none is known."""
    return math.inf if spread.deviation is None else spread.deviation * _mean_factor(seeds, spread.freedom)


def prediction_half_width(seeds: int, spread: Spread, runs: int = 1) -> float:
    """Returns the half-width of the 95 % interval of the mean of further runs, valid at any stopping time."""
    return math.inf if spread.deviation is None else spread.deviation * _prediction_factor(seeds, spread.freedom, runs)


def seeds_to_settle(seeds: int, spread: Spread, off: float, margin: float, runs: int = 1) -> int | None:
    """Counts the further seeds after which there would be a verdict.

    Args:
        seeds: that exist.
        spread: between seeds; where nothing tells it, half the margin is taken.
        off: distance of the mean from the reported value.
        margin: half-width of what counts as the same.
        runs: of which the printed value is the mean.

    Returns:
        The number of further seeds if the mean stays and runs scatter as far as it is likely; null when more than
        `MOST_SEEDS` in all would be needed.
    """
    likely = margin / 2 if spread.likely is None else spread.likely
    others = spread.freedom - seeds

    def first(factor: str, below: float) -> int:
        """Finds the number of seeds from which on an interval is narrower; both intervals become ever narrower."""
        width = _mean_factor if factor == "mean" else lambda n, df: _prediction_factor(n, df, runs)
        return bisect_left(
            range(MOST_SEEDS + 2), True, lo=seeds + 1, key=lambda n: likely * width(n, n + others) <= below
        )

    settled = [first("mean", margin - off)] if off < margin else []
    if off > margin:
        settled.append(first("prediction", off))
    plausible = first("prediction", 2 * margin)
    if plausible <= MOST_SEEDS and off <= likely * _prediction_factor(plausible, plausible + others, runs):
        settled.append(plausible)
    total = min(settled, default=math.inf)
    return int(total) - seeds if total <= MOST_SEEDS else None


@cache
def _mean_factor(seeds: int, freedom: int) -> float:
    """Computes the mean's half-width in standard deviations: where Lai's mixture reaches 1 / (1 - CONFIDENCE)."""
    if freedom < 1:
        return math.inf
    informed = 1 + seeds * _MIXTURE
    ratio = (math.sqrt(informed) / (1 - CONFIDENCE)) ** (2 / (freedom + 1))
    if ratio >= informed:
        return math.inf
    return math.sqrt((ratio - 1) / (1 - ratio / informed) * freedom / seeds)


@cache
def _prediction_factor(seeds: int, freedom: int, runs: int) -> float:
    """Computes the half-width of the prediction interval in standard deviations."""
    if freedom < 1:
        return math.inf
    return student_quantile(freedom, _level(seeds, runs)) * math.sqrt(1 / runs + 1 / seeds)


@cache
def student_quantile(freedom: int, level: float) -> float:
    """Computes what Student's |t| exceeds with probability `level`; scipy's costs a third of a start.

    For whole degrees of freedom the law is a finite sum (M. Abramowitz, I. Stegun, "Handbook of Mathematical
    Functions", 1964, 26.7.3 and 26.7.4), of the angle whose tangent is t over the root of the degrees of freedom.
    """

    def exceeded(angle: float) -> float:
        cosine, odd = math.cos(angle), freedom % 2
        term = total = 1.0 if not odd else cosine if freedom > 1 else 0.0
        for k in range(2 + odd, freedom - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        inside = math.sin(angle) * total
        return 1 - (2 / math.pi * (angle + inside) if odd else inside)

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeded(middle) > level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _level(seeds: int, runs: int) -> float:
    """Returns how often one look may miss, so that all looks together miss in one case of twenty at most.

    Looks at less than five seeds hardly know the spread: they get little. Those at many are nearly one and the same
    look, as the printed run stays as uncertain as it is; those about five, where what is far off can be found at
    little cost, get most. `python docs/scripts/verdict_errors.py levels` shows what they come to together.
    """
    share = _EARLY[seeds] if seeds in _EARLY else 0.007 + 0.015 * math.exp((5 - seeds) / 2)
    return share / (1 + math.log(runs) / 2)


_EARLY = {1: 0.004, 2: 0.0005, 3: 0.002, 4: 0.008}
