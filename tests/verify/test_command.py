"""`verify` on records made from a real one."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import made_up
from tests.conftest import ROOT, Command

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes records without evidence, which measured what the report prints where nothing else is said."""

    def write(name: str, last: dict[str, float] | None = None, **changes: Any) -> Path:
        last = {"test_accuracy": 0.7156, "train_accuracy": 0.8595} | (last or {})
        return made_up.write(tmp_path / "records" / name, made_up.content(last=last, **changes))

    return write


def verdicts(done_json: str) -> dict[str, str]:
    rows = json.loads(done_json)["rows"]
    return {metric: judgement["verdict"] for row in rows for metric, judgement in row["judgements"].items()}


def test_several_seeds_are_judged_together(command: Command, make: Make) -> None:
    files = [
        make(f"seed{seed}", seed=seed, last={"test_accuracy": accuracy})
        for seed, accuracy in enumerate((0.7150, 0.7160, 0.7170, 0.7155), 1)
    ]
    done = command("verify", *files, "--json", "-")
    assert done.status == 0
    row = json.loads(done.out)["rows"][0]
    assert row["seeds"] == [1, 2, 3, 4]
    assert row["decides"] is True
    assert row["judgements"]["test_accuracy_percent"]["verdict"] == "reproduced"
    assert row["judgements"]["training_seconds"]["verdict"] == "not comparable"


def test_below_is_a_no_and_junit_says_so(command: Command, make: Make, tmp_path: Path) -> None:
    files = [make(f"seed{seed}", seed=seed, last={"test_accuracy": 0.5 + seed / 1000}) for seed in range(1, 5)]
    done = command("verify", *files, "--junit", tmp_path / "junit.xml")
    assert done.status == 1
    assert "below (a run: " in done.out
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")


def test_prefix_is_judged_against_the_printed_curve(command: Command, make: Make) -> None:
    file = make(
        "prefix",
        tier="prefix",
        epochs=5,
        epochs__planned=15,
        last={"train_accuracy": 0.7195, "test_accuracy": 0.6897},
    )
    done = command("verify", file, "--json", "-")
    row = json.loads(done.out)["rows"][0]
    assert (row["epoch"], row["decides"]) == (5, False)
    assert row["judgements"]["train_accuracy_percent"]["reported"] == 71.95
    assert verdicts(done.out)["train_accuracy_percent"] == "inconclusive"  # one seed


def test_smoke_is_not_comparable(command: Command, finished_run: Path) -> None:
    done = command("verify", finished_run)
    assert done.status == 3
    assert "not comparable" in done.out


def test_changed_runs_are_kept_apart(command: Command, make: Make) -> None:
    same = make("same")
    changed = make(
        "changed",
        changed_from_row={"model.init_args.optimizer.init_args.lr": [0.001, 0.1]},
        last={"test_accuracy": 0.1},
    )
    done = command("verify", same, changed, "--json", "-")
    rows = json.loads(done.out)["rows"]
    assert [row["decides"] for row in rows] == [True, False]
    assert rows[0]["judgements"]["test_accuracy_percent"]["measured"] == pytest.approx(71.56)
    alone = command("verify", changed)
    assert "lr is 0.1, not 0.001" in alone.out
    assert "not comparable (changed from the row)" in alone.out
    assert alone.status == 3


def test_records_named_by_their_folder_are_judged_as_the_row_is(command: Command) -> None:
    of_all = {
        row["row"]: row for row in json.loads(command("verify", ROOT / "results", "--json", "-").out)["rows"][::-1]
    }
    shared = [row for row in of_all.values() if row["shared_from"]]
    assert shared
    for row in shared:
        asked = json.loads(command("verify", row["row"], "--json", "-").out)["rows"][0]
        assert asked["judgements"] == row["judgements"]


def test_runs_longer_than_the_row_are_changed_runs(command: Command, make: Make) -> None:
    file = make("longer", epochs=30, epochs__planned=15, changed_from_row={"trainer.max_epochs": [15, 30]})
    assert json.loads(command("verify", file, "--json", "-").out)["rows"][0]["decides"] is False


def test_copies_count_once(command: Command, make: Make) -> None:
    done = command("verify", make("one"), make("two"), "--json", "-")
    assert len(json.loads(done.out)["rows"][0]["records"]) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"selection__last__test_accuracy": 71.56},
            "selection.last.test_accuracy is 71.56; it must be a fraction",
        ),
        ({"schema": 3}, "schema"),
        ({"curve": ...}, "misses the key curve"),
        ({"selection__last__f1": ...}, "misses the key selection.last.f1"),
        ({"seed": "one"}, 'seed is "one"; it must be a whole number'),
        ({"status": "partial"}, "fit --resume"),
        ({"tier": "huge"}, "it must be one of full, prefix, smoke"),
        ({"row": "no_such_row"}, "There is no row no_such_row"),
    ],
)
def test_bad_records_are_told_and_the_others_judged(
    command: Command, make: Make, changes: dict[str, Any], told: str
) -> None:
    good, bad = make("good"), make("bad", **changes)
    done = command("verify", good, bad)
    assert told in done.sentence()
    assert "ghugre_sequential: epoch 15 (full)" in done.out


def test_every_kind_of_bad_record_at_once(command: Command, make: Make) -> None:
    bad = {
        "misses the key hardware": make("missing", hardware=...),
        "it must be a fraction of 1, not a percentage": make("percent", selection__last__recall=71.06),
        "schema 1": make("schema", schema="1.0"),
        "is damaged": make("truncated"),
        "There is no row": make("gone", row="ghugre_removed"),
    }
    predictions = make("good").parent.parent / "truncated" / "predictions.npz"
    predictions.write_bytes(b"PK\x03\x04 cut short")
    done = command("verify", predictions.parents[1], "--json", "-")
    found = json.loads(done.out)
    assert done.status == found["exit_status"] == 2
    assert len(found["problems"]) == len(bad)
    for told, file in bad.items():
        (problem,) = [problem for problem in found["problems"] if told in problem]
        assert str(file.parent) in problem
    assert found["rows"][0]["judgements"]["test_accuracy_percent"]["measured"] == pytest.approx(71.56)


@pytest.mark.parametrize("target", ["nothing_here", ".", "ghugre_sequential"])
def test_wrong_targets_are_told(command: Command, target: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()  # so that the committed records are not in reach
    command("verify", target).sentence()


def test_table_fits_a_terminal(command: Command, make: Make) -> None:
    done = command("verify", make("one", last={"test_accuracy": 0.69}))
    body = [line for line in done.out.splitlines() if not line.startswith(("  note: ", "    Choosing the epoch"))]
    assert all(len(line) <= 80 for line in body), done.out
    assert any("reported" in line and "measured" in line and "verdict" in line for line in body)
