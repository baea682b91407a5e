import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_hpc.verify import verdicts
from cifar_hpc.verify.judge import exit_status
from cifar_hpc.verify.verdicts import PRIOR_SPREAD_PERCENT, judge


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        ([71.5, 71.6, 71.7], "reproduced"),
        ([75.0, 75.1, 75.2], "above"),
        ([60.0, 60.1, 60.2], "below"),
        ([69.4, 69.6, 69.8], "inconclusive"),  # on the edge
        ([71.0, 72.0], "inconclusive"),  # two seeds a point apart: t with one degree of freedom is wide
        ([71.56], "reproduced"),
        ([70.5], "inconclusive"),
        ([65.0], "below"),
        ([71.1, 71.9, 71.4, 71.8, 71.3], "reproduced"),
    ],
)
def test_known_answers(measured: list[float], verdict: str) -> None:
    assert judge(71.56, measured, margin=2.0).verdict == verdict


def test_one_seed_uses_the_prior() -> None:
    judgement = judge(71.56, [71.0], margin=2.0)
    assert judgement.half_width == pytest.approx(1.96 * PRIOR_SPREAD_PERCENT, rel=1e-3)


def test_several_seeds_use_students_t() -> None:
    # t with two degrees of freedom leaves 2.5 % beyond 4.303 (any table)
    assert verdicts.interval_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)


@given(st.floats(0, 100), st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0.1, 5))
def test_verdicts_are_what_the_interval_says(reported: float, measured: list[float], margin: float) -> None:
    found = judge(reported, measured, margin)
    assert found.measured is not None
    assert found.half_width is not None
    low, high = found.measured - found.half_width - reported, found.measured + found.half_width - reported
    if found.verdict == "reproduced":
        assert -margin - 1e-9 <= low
        assert high <= margin + 1e-9
    elif found.verdict == "above":
        assert low > margin - 1e-9
    elif found.verdict == "below":
        assert high < -margin + 1e-9
    assert (found.more_seeds is not None) <= (found.verdict == "inconclusive")


def test_more_seeds_settle_it_if_nothing_else_changes() -> None:
    measured = [70.0, 71.0, 72.0]
    found = judge(71.5, measured, margin=2.0)
    assert found.verdict == "inconclusive"
    assert found.more_seeds is not None
    total = len(measured) + found.more_seeds
    for seeds, settled in ((total, True), (total - 1, False)):
        half_width = verdicts._quantile(seeds) * 1.0 / math.sqrt(seeds)
        assert (0.5 + half_width < 2.0) is settled


DRAWS = 10_000


def draws(truth: float, seeds: int) -> list[list[float]]:
    """Runs of so many seeds whose true mean is known, by a normal law whose spread is the prior's."""
    found: list[list[float]] = np.random.default_rng(seeds).normal(truth, PRIOR_SPREAD_PERCENT, (DRAWS, seeds)).tolist()
    return found


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("truth", "wrong"),
    [
        (71.0, ("above", "below")),  # the same as reported
        (71.5, ("above", "below")),  # within the margin
        (72.0, ("reproduced", "below", "above")),  # on its edge, where errors are likeliest
        (70.0, ("reproduced", "above", "below")),
        (72.5, ("reproduced", "below")),  # outside
        (69.0, ("reproduced", "above")),
    ],
)
def test_error_rate(seeds: int, truth: float, wrong: tuple[verdicts.Verdict, ...]) -> None:
    found = [judge(71.0, measured, margin=1.0).verdict for measured in draws(truth, seeds)]
    for verdict in wrong:
        assert found.count(verdict) / DRAWS <= 0.05


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_interval_has_the_stated_coverage(seeds: int) -> None:
    # So that the error rate does not hold merely because every interval is far too wide. Three standard
    # errors of a share of 0.95 in 10,000 draws are 0.0065.
    found = [judge(71.0, measured, margin=1.0) for measured in draws(71.3, seeds)]
    covered = [abs(f.measured - 71.3) <= f.half_width for f in found if f.measured and f.half_width]
    assert len(covered) == DRAWS
    assert sum(covered) / DRAWS == pytest.approx(0.95, abs=0.0065)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (["reproduced", "not comparable"], 0),
        (["reproduced", "below"], 1),
        (["above"], 1),
        (["inconclusive", "not comparable"], 3),
        (["reproduced", "inconclusive"], 0),
        ([], 3),
    ],
)
def test_exit_status(found: list[verdicts.Verdict], status: int) -> None:
    assert exit_status(found) == status
