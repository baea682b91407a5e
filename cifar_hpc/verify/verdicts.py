"""The verdict rule, written once.

A metric is *reproduced* when the mean over seeds is shown to lie within the row's margin of the reported
value: the whole 95 % interval of the mean lies inside it (two-sided equivalence, as in D. Schuirmann,
J. Pharmacokinet. Biopharm. 15, 1987, with the wider interval on both sides). It is *above* or *below* when
the whole interval lies outside. Anything else is *inconclusive*, with the number of further seeds that would
settle it if mean and spread stayed as they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

Verdict = Literal["reproduced", "above", "below", "inconclusive", "not comparable"]

CONFIDENCE = 0.95

PRIOR_SPREAD_PERCENT = 0.7
"""Standard deviation between seeds, in percentage points, that is assumed when there is one seed only.

Source: the only printed test accuracies of a converged run in the packaged reports, epochs 6 to 15 of a small CNN,
scatter by 0.66 from one epoch to the next. Tuned large networks scatter by 0.15 between seeds (D. Page, "How
to Train Your ResNet", 2019), so this errs on the careful side.
"""

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Judgement:
    """A verdict on one metric, with what it rests on.

    Attributes:
        reported: as printed.
        measured: mean over seeds.
        half_width: of the 95 % interval of the mean; null when nothing was compared.
        seeds: number of seeds.
        margin: half-width of what counts as the same.
        verdict: see the module.
        more_seeds: how many more would settle an inconclusive verdict; null when none would.
        reason: why the verdict is what it is, where numbers do not say it.
    """

    reported: float | None
    measured: float | None
    half_width: float | None
    seeds: int
    margin: float
    verdict: Verdict
    more_seeds: int | None = None
    reason: str = ""


def judge(reported: float, measured: Sequence[float], margin: float) -> Judgement:
    """Judges one metric.

    Args:
        reported: the printed value.
        measured: one value for each seed, in the same unit.
        margin: half-width of what counts as the same, in the same unit.

    Raises:
        ValueError: if nothing was measured.
    """
    if not measured:
        raise ValueError("nothing was measured")
    seeds = len(measured)
    mean = math.fsum(measured) / seeds
    half_width = interval_half_width(measured)
    difference = mean - reported
    verdict: Verdict
    if abs(difference) + half_width <= margin:
        verdict = "reproduced"
    elif abs(difference) - half_width > margin:
        verdict = "above" if difference > 0 else "below"
    else:
        verdict = "inconclusive"
    more = seeds_to_settle(seeds, spread(measured), abs(difference), margin) if verdict == "inconclusive" else None
    return Judgement(reported, mean, half_width, seeds, margin, verdict, more)


def spread(measured: Sequence[float]) -> float:
    """Standard deviation between seeds: of the sample, or the prior's when there is one seed only."""
    if len(measured) < 2:
        return PRIOR_SPREAD_PERCENT
    mean = math.fsum(measured) / len(measured)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in measured) / (len(measured) - 1))


def interval_half_width(measured: Sequence[float]) -> float:
    """Half-width of the 95 % interval of the mean: Student's t, or the normal law with the prior's spread."""
    return _quantile(len(measured)) * spread(measured) / math.sqrt(len(measured))


def seeds_to_settle(seeds: int, deviation: float, distance: float, margin: float) -> int | None:
    """Further seeds after which the interval would lie wholly inside or outside the margin.

    Args:
        seeds: that exist.
        deviation: between seeds.
        distance: of the mean from the reported value.
        margin: half-width of what counts as the same.

    Returns:
        The number of further seeds if mean and deviation stay as they are; null when more than
        `MOST_SEEDS` would be needed.
    """
    room = abs(margin - distance)
    for total in range(max(seeds + 1, 2), MOST_SEEDS + 1):
        if _quantile(total) * deviation / math.sqrt(total) < room:
            return total - seeds
    return None


@cache
def _quantile(seeds: int) -> float:
    """The factor of the interval: t with n - 1 degrees of freedom, normal for one seed of known spread."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + CONFIDENCE) / 2
    return float(ndtri(tail) if seeds < 2 else stdtrit(seeds - 1, tail))
