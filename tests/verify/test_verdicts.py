import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_hpc.verify import verdicts
from cifar_hpc.verify.rows import exit_status
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


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_error_rate(seeds: int) -> None:
    # Truth on the margin's edge, where errors are likeliest: at most 5 % may be called reproduced, and at
    # most 5 % above. 10,000 draws of a normal law whose spread is the prior's.
    rng = np.random.default_rng(seeds)
    draws = rng.normal(72.0, PRIOR_SPREAD_PERCENT, size=(10_000, seeds))
    found = [judge(71.0, row.tolist(), margin=1.0).verdict for row in draws]
    for wrong in ("reproduced", "above", "below"):
        assert found.count(wrong) / len(found) <= 0.05


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
