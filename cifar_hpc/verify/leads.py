"""By how much one set of runs is ahead of another, and what that says of a claim.

A lead is a difference of two means: of accuracies in points, or of logarithms of seconds, so that a lead of
log 2 is a speed-up of 2. Its 95 % interval is B. L. Welch's (Biometrika 34, 1947): runs of the two sides may scatter
differently. A side of one run scatters by a stated prior.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from cifar_hpc.verify.verdicts import CONFIDENCE, student_quantile

PRIOR_SPREAD_PERCENT = 0.7
"""Standard deviation between seeds, in percentage points, that is assumed for a side of one run.

Source: the only printed test accuracies of a converged run in the packaged reports, epochs 6 to 15 of a small CNN,
scatter by 0.66 from one epoch to the next. Tuned large networks scatter by 0.15 between seeds (D. Page, "How to Train
Your ResNet", 2019), so this errs on the careful side.
"""

PRIOR_SPREAD_LOG_SECONDS = 0.08
"""Standard deviation between runs of log seconds per epoch that is assumed for a side of one run: 8 %.

Source: the five kept records of one small CNN, made on one shared machine, scatter by 7.4 %. A quiet
machine scatters less, so this errs on the careful side.
"""

PRIORS = {"points": PRIOR_SPREAD_PERCENT, "log seconds": PRIOR_SPREAD_LOG_SECONDS}


@dataclass(frozen=True)
class Lead:
    """How far one side is ahead.

    Attributes:
        value: difference of the means, positive when the first side is ahead.
        half_width: of its interval.
    """

    value: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + self.half_width


def lead(first: Sequence[float], second: Sequence[float], prior: float, pairs: int = 1) -> Lead:
    """Measures the lead of the first side over the second.

    Args:
        first: one value for each run, greater being better.
        second: those of the other side.
        prior: standard deviation between runs that is assumed for a side of one run.
        pairs: number of leads that are judged together; the intervals are widened so that all of them hold at
            once with 95 % (Bonferroni).

    Raises:
        ValueError: if a side is empty.
    """
    if not first or not second:
        raise ValueError("both sides need a run")
    variances = [_variance(side, prior) / len(side) for side in (first, second)]
    total = math.fsum(variances)
    # Welch and Satterthwaite; a side of known spread has infinitely many degrees of freedom.
    inverse = math.fsum(
        (variance / total) ** 2 / (len(side) - 1)
        for variance, side in zip(variances, (first, second), strict=True)
        if len(side) > 1 and total > 0
    )
    value = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    return Lead(value, _quantile(1 / inverse if inverse else math.inf, pairs) * math.sqrt(total))


def _variance(values: Sequence[float], prior: float) -> float:
    if len(values) < 2:
        return prior**2
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _quantile(degrees_of_freedom: float, pairs: int) -> float:
    """Looks up Student's quantile; broken degrees of freedom are rounded down, which widens an interval."""
    outside = (1 - CONFIDENCE) / pairs
    if math.isinf(degrees_of_freedom):
        return NormalDist().inv_cdf(1 - outside / 2)
    return student_quantile(max(1, math.floor(degrees_of_freedom)), outside)


LeadVerdict = Literal["reproduced", "above", "below", "inconclusive"]


def judge_by(found: Lead, reported: float, margin: float) -> LeadVerdict:
    """Calls a stated lead reproduced when the interval lies within the margin about it, as for a row's metrics."""
    if reported - margin <= found.low and found.high <= reported + margin:
        return "reproduced"
    if found.low > reported + margin:
        return "above"
    return "below" if found.high < reported - margin else "inconclusive"


def judge_ahead(found: Sequence[Lead], least: float = 0.0) -> LeadVerdict:
    """Calls a ranking reproduced when every lead is shown to exceed `least`, refuted when one is shown not to."""
    if all(one.low > least for one in found):
        return "reproduced"
    return "below" if any(one.high < least for one in found) else "inconclusive"


def judge_up_to(found: Lead, reported: float, margin: float) -> LeadVerdict:
    """Calls a lead of "up to" reproduced when it is shown to be one, and not to exceed what is stated."""
    if found.low > reported + margin:
        return "above"
    if found.high < 0:
        return "below"
    return "reproduced" if found.low > 0 and found.high <= reported + margin else "inconclusive"
