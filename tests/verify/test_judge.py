"""Verdicts on made-up records whose answers are known."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.collection.reproduction import Setting
from cifar_hpc.records.record import Record
from cifar_hpc.verify.command import explain
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
        ([0.7156], "inconclusive"),  # one seed tells nothing of the spread, and no other network is there
        ([0.20], "inconclusive"),
        ([0.60, 0.601, 0.599, 0.6], "below"),
        ([0.80, 0.801, 0.799, 0.8], "above"),
        ([0.712, 0.714, 0.716, 0.718, 0.720], "reproduced"),  # five seeds, well inside
        ([0.65, 0.651, 0.652, 0.653, 0.654], "below"),  # five seeds, well outside
        ([0.695, 0.6965, 0.6976, 0.6985, 0.7004], "inconclusive"),  # five seeds, on the edge
        ([0.6925, 0.7155, 0.7065, 0.7085, 0.7015], "plausible"),  # five seeds that scatter by nearly a point
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
    found = judged(record(seed=1, **gpu), record(seed=2, time=seconds), record(seed=3, time=seconds))
    assert found.judgements["training_seconds"].verdict == "not comparable"
    assert found.judgements["training_seconds"].measured == pytest.approx(1260.2464)  # no mean over both devices
    assert found.judgements["test_accuracy_percent"].seeds == 3  # accuracies of both count


def test_prefix_is_judged_by_the_printed_curve_and_decides_nothing() -> None:
    def prefix(seed: int) -> Record:
        curve = [
            dict(point, test_accuracy=0.7031 + seed / 1000, train_accuracy=0.60 + seed / 1000)
            for point in REAL["curve"][:6]
        ]
        return record(0.1, seed, tier="prefix", epochs__done=6, curve=curve)

    found = judged(*map(prefix, range(5)))
    assert (found.tier, found.epoch, found.decides) == ("prefix", 6, False)
    test = found.judgements["test_accuracy_percent"]
    assert (test.reported, test.verdict) == (70.31, "reproduced")
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


def test_like_networks_tell_how_far_seeds_scatter_until_own_seeds_scatter_more() -> None:
    others = [record(0.60 + seed / 1000, seed, row=None, recipe="of_our_own") for seed in range(3)]
    others = [replace(other, path=Path(f"others/seed{other.seed}")) for other in others]
    smoke = replace(record(0.1, 9, tier="smoke", row=None, recipe="short"), path=Path("others/seed9"))
    changed = {"data.batch_size": [32, 64]}
    another = replace(record(0.1, 8, changed_from_row=changed), path=Path("others/seed8"))
    own = record(0.30)
    for known, verdict in ((others, "below"), ([*others, smoke, another, own], "below"), ([own], "inconclusive")):
        (found,) = judge_row(ROW, [own], known)
        test = found.judgements["test_accuracy_percent"]
        assert test.verdict == verdict
        assert test.spread == (pytest.approx(0.1) if verdict == "below" else None)
        assert found.like_networks == (("of_our_own (15 epochs of SmallCNN)",) if verdict == "below" else ())
    assert "how far seeds scatter was learnt from of_our_own" in " ".join(judge_row(ROW, [own], others)[0].notes)
    wider = [record(0.30, 1), record(0.40, 2)]
    (found,) = judge_row(ROW, wider, others)
    assert found.judgements["test_accuracy_percent"].spread == pytest.approx(math.sqrt(50))
    assert not any("scatter" in note for note in found.notes)


def test_a_printed_mean_is_held_against_what_means_of_so_many_runs_are() -> None:
    row = copy.deepcopy(ROW)
    records = [record(accuracy, seed) for seed, accuracy in enumerate((0.6925, 0.7155, 0.7065, 0.7085, 0.7015), 1)]
    one = judge_row(row, records)[0].judgements["test_accuracy_percent"]
    row.reported.runs = 5
    five = judge_row(row, records)[0].judgements["test_accuracy_percent"]
    assert (one.runs, five.runs) == (1, 5)
    assert one.prediction_half_width is not None
    assert five.prediction_half_width is not None
    assert five.prediction_half_width < one.prediction_half_width
    assert explain(one).startswith("plausible (a run: ")
    assert explain(replace(five, verdict="plausible")).startswith("plausible (5 runs: ")


def test_an_identified_setting_is_told() -> None:
    row = copy.deepcopy(ROW)
    row.settings["architecture"] = Setting("identified", "by its log")
    told = "architecture was identified by the very numbers that are judged"
    assert told in judge_row(row, [record()])[0].notes
    assert told not in judge_row(row, [record(changed_from_row={"data.batch_size": [32, 64]})])[0].notes
    assert told not in judged(record()).notes
