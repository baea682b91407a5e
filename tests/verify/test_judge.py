"""Verdicts on made-up records whose answers are known."""

from typing import Any

import pytest

from cifar_hpc.records.record import Record
from cifar_hpc.verify.judge import RowVerdict, judge_row
from tests import made_up
from tests.conftest import COLLECTION

# Reports 71.56 on the test set and 85.95 in training, with a margin of 2.
ROW = COLLECTION.row("ghugre_sequential").reproduction
REAL = made_up.REAL


def record(accuracy: float = 0.7156, seed: int = 1, **changes: Any) -> Record:
    metrics = {"selection__last__test_accuracy": accuracy, "selection__last__train_accuracy": 0.8595}
    return made_up.record(seed=seed, **(metrics | changes))


def judged(*records: Record) -> RowVerdict:
    (verdict,) = judge_row(ROW, records)
    return verdict


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ([0.7156], "reproduced"),  # one seed, well inside: ±1.37 around the reported value
        ([0.7092], "inconclusive"),  # one seed, 0.64 off: 0.64 + 1.37 is just beyond the margin
        ([0.7094], "reproduced"),  # one seed, 0.62 off: just within
        ([0.60], "below"),
        ([0.80], "above"),
        ([0.7493], "inconclusive"),  # one seed, 3.37 off: its interval ends on the edge
        ([0.7494], "above"),
        ([0.712, 0.714, 0.716, 0.718, 0.720], "reproduced"),  # five seeds, well inside
        ([0.65, 0.651, 0.652, 0.653, 0.654], "below"),  # five seeds, well outside
        ([0.694, 0.695, 0.6956, 0.696, 0.697], "inconclusive"),  # five seeds, on the edge
        ([0.6956, 0.7356], "inconclusive"),  # two seeds far apart
    ],
)
def test_known_answers(accuracies: list[float], verdict: str) -> None:
    found = judged(*(record(accuracy, seed) for seed, accuracy in enumerate(accuracies, 1)))
    assert found.decides
    assert found.judgements["test_accuracy_percent"].verdict == verdict
    assert found.judgements["test_accuracy_percent"].seeds == len(accuracies)


def test_seeds_not_runs_are_counted() -> None:
    found = judged(record(0.70, 1), record(0.72, 1))
    assert found.judgements["test_accuracy_percent"].seeds == 1
    assert found.judgements["test_accuracy_percent"].measured == pytest.approx(71.0)


def test_seconds_of_other_hardware_are_not_comparable_even_when_equal() -> None:
    seconds = dict(REAL["time"], fit_seconds=1260.2463920116425)
    gpu: dict[str, Any] = {"hardware__accelerator": "cuda", "hardware__gpu": "Tesla T4"}
    found = judged(record(seed=1, time=seconds), record(seed=2, **gpu))
    assert found.judgements["training_seconds"].verdict == "not comparable"
    assert found.judgements["test_accuracy_percent"].verdict == "reproduced"  # accuracies of both count


def test_prefix_is_judged_by_the_printed_curve_and_decides_nothing() -> None:
    curve = [dict(point, test_accuracy=0.6897, train_accuracy=0.70) for point in REAL["curve"][:6]]
    found = judged(record(0.1, tier="prefix", epochs__done=6, curve=curve))
    assert (found.tier, found.epoch, found.decides) == ("prefix", 6, False)
    test = found.judgements["test_accuracy_percent"]
    assert (test.reported, test.verdict) == (70.31, "inconclusive")
    assert found.judgements["train_accuracy_percent"].verdict == "below"
    assert "training_seconds" not in found.judgements


def test_full_runs_come_before_prefixes_and_changed_ones() -> None:
    short = record(tier="prefix", epochs__done=5)
    changed = record(0.9, changed_from_row={"data.batch_size": [32, 64]})
    found = judge_row(ROW, [short, changed, record()])
    assert [(v.tier, v.decides) for v in found] == [("full", True), ("prefix", False), ("full", False)]


def test_selections_stand_side_by_side() -> None:
    kept = REAL["selection"]
    first = record(0.70, 1)
    second = record(0.71, 2, selection__best_holdout=dict(kept["best_test"], epoch=9, test_accuracy=0.715))
    last, holdout, best = judged(first, second).selections
    assert [last.accuracy, holdout.accuracy, best.accuracy] == pytest.approx([70.5, 71.5, 71.71])
    assert [last.told_epochs, holdout.epochs, best.epochs] == ["epoch 15", (9,), (10, 10)]
    assert judged(first).selections[1].accuracy is None
    assert judged(first).selections[1].reason


@pytest.mark.parametrize(
    ("accuracy", "told"),
    [
        # The best epoch on the test set has 71.71, the report 71.56.
        (0.7100, "adds 0.71 points; the report is 0.56 above the last epoch: the choice could be all of that gap."),
        (0.7171, "adds 0.00 points; the report is 0.15 below the last epoch, so it needs no such choice."),
    ],
)
def test_the_choice_of_epoch_is_told(accuracy: float, told: str) -> None:
    assert told in judged(record(accuracy)).choice_of_epoch


def test_the_choice_of_epoch_may_be_part_of_the_gap() -> None:
    found = record(0.69, selection__best_test__test_accuracy=0.6964)
    assert "could be at most 25 % of that gap" in judged(found).choice_of_epoch
