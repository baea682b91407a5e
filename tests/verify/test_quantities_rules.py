"""Rules on errors, top-5 accuracies, seconds per epoch and deviations: honest rows keep them, broken ones do not."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify.forensics import tables
from tests.verify.test_forensics import make_row


def found(**reported: Any) -> list[tuple[str, str]]:
    return [(finding.rule, finding.strength) for finding in tables.audit_row(make_row(**reported))]


def printed(value: float, decimals: int, rounded: bool) -> Printed:
    """As a program prints it that rounds, or one that cuts off."""
    value = value if rounded else math.floor(value * 10**decimals + 1e-9) / 10**decimals
    return Printed(f"{value:.{decimals}f}")


@given(st.data(), st.integers(1, 10_000), st.integers(0, 3), st.booleans(), st.booleans())
def test_honest_rows_keep_the_rules(
    data: st.DataObject, images: int, decimals: int, rounded: bool, error_rounded: bool
) -> None:
    hits = data.draw(st.integers(0, images))
    top5 = data.draw(st.integers(hits, images))
    accuracy, among_five = 100 * hits / images, 100 * top5 / images
    epochs, each, rest = data.draw(st.tuples(st.integers(2, 300), st.floats(0.1, 1e4), st.floats(0, 0.9)))
    assert not found(
        test_accuracy_percent=printed(accuracy, decimals, rounded),
        error_percent=printed(100 - accuracy, decimals, error_rounded),
        top5_accuracy_percent=printed(among_five, decimals, rounded),
        epochs=epochs,
        seconds_per_epoch=printed(each, decimals, rounded),
        training_seconds=printed(epochs * each * (1 + rest), decimals, rounded),
    )


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.integers(0, 3), st.booleans())
def test_honest_deviations_are_possible(runs: list[float], decimals: int, rounded: bool) -> None:
    assert not found(
        test_accuracy_percent=printed(statistics.fmean(runs), decimals, rounded),
        std_percent=printed(statistics.stdev(runs), decimals, rounded),
        runs=len(runs),
    )


@pytest.mark.parametrize(
    ("reported", "rule", "strength"),
    [
        ({"test_accuracy_percent": Printed("91.0"), "error_percent": 9.5}, "error_is_the_rest", "contradicts"),
        ({"test_accuracy_percent": 91.25, "error_percent": 9.75}, "error_is_the_rest", "contradicts"),
        ({"test_accuracy_percent": Printed("91.0"), "top5_accuracy_percent": 90.5}, "top5_holds_top1", "impossible"),
        ({"error_percent": Printed("9.0"), "top5_accuracy_percent": 90.5}, "top5_holds_top1", "impossible"),
        ({"error_percent": 8.7634, "averaged_over": "images"}, "accuracy_counts_images", "impossible"),
        ({"top5_accuracy_percent": 98.76341, "averaged_over": "images"}, "accuracy_counts_images", "impossible"),
        ({"epochs": 10, "training_seconds": 100, "seconds_per_epoch": 300}, "seconds_per_epoch_add_up", "contradicts"),
        ({"epochs": 10, "training_seconds": 900, "seconds_per_epoch": 30}, "seconds_per_epoch_add_up", "unusual"),
        ({"test_accuracy_percent": 91.0, "std_percent": 60.0, "runs": 3}, "deviation_is_possible", "impossible"),
        ({"error_percent": Printed("1.0"), "std_percent": Printed("15.0")}, "deviation_is_possible", "impossible"),
    ],
)
def test_broken_rows_are_found(reported: dict[str, Any], rule: str, strength: str) -> None:
    assert found(**reported) == [(rule, strength)]


def test_errors_alone_are_held_against_no_test_set_that_nobody_names() -> None:
    row = make_row(error_percent=9.0)
    assert not tables.not_judged(row)
    row.config.clear()
    assert "no test set" in tables.not_judged(row)
