"""Printed quantities beside accuracy: judged where the records hold them, and told why where they do not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.records.record import read_record
from cifar_hpc.verify.judge import RowVerdict, judge_row
from tests.conftest import COLLECTION, ROOT, Command, reports_in

KEPT = ROOT / "results" / "ghugre_parallel" / "seed2" / "result.json"
"""A real run of schema 2, which holds top-5."""
REAL: dict[str, Any] = json.loads(KEPT.read_text())
LAST: dict[str, Any] = REAL["selection"]["last"]


def judged(folder: Path, content: dict[str, Any], **reported: Any) -> RowVerdict:
    file = folder / "result.json"
    file.write_text(json.dumps(content))
    group = COLLECTION.row(content["row"]).reproduction
    numbers = replace(group.reported, **{"test_accuracy_percent": None, "train_accuracy_percent": None} | reported)
    (verdict,) = judge_row(replace(group, reported=numbers), [read_record(file)])
    return verdict


def test_error_and_top5_are_measured(tmp_path: Path) -> None:
    error, top5 = 100 * (1 - LAST["test_accuracy"]), 100 * LAST["top5_accuracy"]
    found = judged(tmp_path, REAL, error_percent=round(error, 2), top5_accuracy_percent=round(top5, 2)).judgements
    assert found["error_percent"].measured == pytest.approx(error)
    assert found["top5_accuracy_percent"].measured == pytest.approx(top5)
    assert {found[key].verdict for key in ("error_percent", "top5_accuracy_percent")} <= {"reproduced", "inconclusive"}
    wrong = judged(tmp_path, REAL, error_percent=LAST["test_accuracy"], top5_accuracy_percent=10.0).judgements
    assert wrong["top5_accuracy_percent"].verdict != "reproduced"
    assert wrong["error_percent"].verdict != "reproduced"


def test_validation_accuracy_is_that_of_a_hold_out(tmp_path: Path) -> None:
    without = judged(tmp_path, REAL, validation_accuracy_percent=70.0).judgements["validation_accuracy_percent"]
    assert (without.verdict, without.reason) == ("not comparable", "no hold-out")
    content = json.loads(json.dumps(REAL))
    for point in content["curve"]:
        point |= {"holdout_accuracy": 0.7, "holdout_loss": 1.0}
    found = judged(tmp_path, content, validation_accuracy_percent=70.0).judgements["validation_accuracy_percent"]
    assert found.measured == pytest.approx(70.0)


def test_seconds_of_an_epoch_are_shown_and_not_compared(tmp_path: Path) -> None:
    found = judged(tmp_path, REAL, seconds_per_epoch=7.5).judgements["seconds_per_epoch"]
    time = REAL["time"]
    assert found.measured == pytest.approx((time["train_seconds"] + time["eval_seconds"]) / REAL["epochs"]["done"])
    assert (found.verdict, found.reason) == ("not comparable", "other hardware")


def test_a_row_that_prints_them_is_read_shown_and_compared(tmp_path: Path, command: Command) -> None:
    row = COLLECTION.row(REAL["row"])
    config = json.loads(json.dumps(row.config))
    config["reproduction"]["reported"] |= {
        "error_percent": "32.02",
        "top5_accuracy_percent": 96.5,
        "validation_accuracy_percent": 68.0,
        "seconds_per_epoch": 7.7,
        "runs": 3,
        "std_percent": 0.4,
    }
    reports_in(tmp_path / "reproductions", **{REAL["row"]: config})
    done = command("verify", KEPT)
    for words in ("test error", "top-5 accuracy", "validation acc.", "seconds per epoch"):
        assert words in done.out
    tables = [line for line in done.out.splitlines() if not line.startswith(("  note: ", "    Choosing the epoch"))]
    assert all(len(line) <= 80 for line in tables)
    reported = next(
        row["reported"] for row in json.loads(command("rows", "--json", "-").out)["rows"] if row["id"] == REAL["row"]
    )
    assert (reported["error_percent"], reported["runs"], reported["std_percent"]) == (32.02, 3, 0.4)
