"""Rows that train "to convergence": the rule, the run that it ends, and the record that tells it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.cli import main
from cifar_hpc.collection import convergence
from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.typed import build
from cifar_hpc.records.record import Record, Result
from cifar_hpc.verify import reader
from cifar_hpc.verify.check import Check
from cifar_hpc.verify.judge import judge_row
from cifar_hpc.verify.settings import check_settings
from tests import made_up
from tests.conftest import SEQUENTIAL, Fit, record

WITH_RULE = [row for row in chosen().rows.values() if convergence.rule(row.config)]


def flat_after(accuracies: list[float], **rule: Any) -> int | None:
    arguments = {"points": 0.5, "epochs": 5, "at_least": 1} | rule
    return next((n for n in range(1, len(accuracies) + 1) if convergence.is_flat(accuracies[:n], **arguments)), None)


def test_a_curve_is_flat_when_its_best_hardly_rises() -> None:
    rising = [0.5 + 0.002 * epoch for epoch in range(40)]  # a point in five epochs
    assert flat_after(rising) is None
    assert flat_after([*rising, *([rising[-1] + 0.004] * 5)]) == 45
    assert flat_after([*rising, *([rising[-1] + 0.006] * 5)]) is None
    assert flat_after([0.1] * 50) == 6
    assert flat_after([0.1] * 50, at_least=20) == 20
    dip = [*rising, 0.3, 0.3, rising[-1] + 0.002]  # a bad epoch or two are no end
    assert flat_after(dip) is None


@pytest.fixture
def ending(tmp_path: Path) -> list[str]:
    """The row under a rule that ends it after three epochs: nothing rises by 100 points."""
    file = tmp_path / "rule.yaml"
    rule = {"class_path": convergence.CALLBACK, "init_args": {"points": 100.0, "epochs": 1, "at_least": 3}}
    file.write_text(json.dumps({"trainer": {"callbacks": [rule]}}))
    return [*SEQUENTIAL, "-c", str(file), "--run_dir", "run", "--resume"]


def test_the_record_tells_that_the_rule_ended_the_run(ending: list[str], fit_here: Fit, tmp_path: Path) -> None:
    fit_here(*ending)
    found = record(tmp_path / "run")
    assert found["status"] == "complete"
    assert found["epochs"] == {"planned": 3, "done": 3, "most": 15}
    assert "trainer.callbacks" in found["changed_from_row"]  # which is part of the experiment
    assert [point["epoch"] for point in found["curve"]] == [1, 2, 3]


def test_a_run_stopped_before_its_test_trains_no_further(ending: list[str], fit_here: Fit, tmp_path: Path) -> None:
    fit_here(*ending)
    whole = record(tmp_path / "run")
    partial = copy.deepcopy(whole) | {"status": "partial"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(partial))
    (tmp_path / "run" / "predictions.npz").unlink()
    fit_here(*ending)
    again = record(tmp_path / "run")
    assert again["curve"] == whole["curve"]
    assert again["selection"] == whole["selection"]
    assert again["epochs"] == whole["epochs"]


def test_a_rule_that_never_holds_changes_nothing(tmp_path: Path, fit_here: Fit) -> None:
    file = tmp_path / "rule.yaml"
    rule = {"class_path": convergence.CALLBACK, "init_args": {"points": 0.0, "epochs": 1, "at_least": 3}}
    file.write_text(json.dumps({"trainer": {"callbacks": [rule], "max_epochs": 4}}))
    fit_here(*SEQUENTIAL, "-c", str(file), "--run_dir", "run")
    assert record(tmp_path / "run")["epochs"] == {"planned": 15, "done": 4}


def ended(row: str, accuracies: list[float], path: Path = Path("result.json"), seed: int = 1) -> Record:
    """A record of a row whose rule ended it, from a real one."""
    content = made_up.content(row, seed=seed, epochs=len(accuracies))
    for point, accuracy in zip(content["curve"], accuracies, strict=True):
        point["train_accuracy"] = accuracy
    content["epochs"]["most"] = 100
    return Record(**vars(build(Result, content)), path=path)


def checks_of(record: Record, row: Row) -> dict[str, Check]:
    record.path.with_name("config.yaml").write_text(row.path.read_text())
    return {check.what: check for check in check_settings(record)}


def test_runs_of_a_row_are_judged_together_whatever_epoch_ended_them() -> None:
    row = WITH_RULE[0]
    name = row.reproduction.name
    records = [ended(name, [0.9] * epochs, seed=seed) for seed, epochs in ((1, 22), (2, 25))]
    (verdict,) = judge_row(row.reproduction, records)
    assert verdict.seeds == (1, 2)
    assert "after epochs 22 (seed 1), 25 (seed 2)" in " ".join(verdict.notes)


def test_a_relatives_run_that_the_rule_ended_is_evidence() -> None:
    row = next(row for row in WITH_RULE if len(chosen().relatives(row)) > 1)
    other = next(r for r in chosen().relatives(row) if r.path != row.path)
    found = reader.as_evidence(ended(row.reproduction.name, [0.9] * 22), other)
    assert found is not None
    assert (found.name, found.epochs_done, found.answers) == (other.reproduction.name, 22, "last")


@pytest.mark.parametrize(("accuracies", "agrees"), [([0.9] * 20, True), ([0.9] * 23, False), ([0.9] * 12, False)])
def test_a_record_must_end_where_its_rule_does(accuracies: list[float], agrees: bool, tmp_path: Path) -> None:
    row = WITH_RULE[0]
    checks = checks_of(ended(row.reproduction.name, accuracies, tmp_path / "result.json"), row)
    assert (checks["epochs.planned"].agrees and checks["epochs.most"].agrees) is agrees


def test_a_run_without_a_rule_cannot_claim_to_have_been_ended_by_one(tmp_path: Path) -> None:
    row = chosen().row("shahrin_table2_row7")
    checks = checks_of(ended(row.reproduction.name, [0.9] * 12, tmp_path / "result.json"), row)
    assert not checks["epochs.planned"].agrees
    assert not checks["epochs.most"].agrees


def test_the_rows_say_their_rule() -> None:
    assert WITH_RULE
    for row in WITH_RULE:
        arguments = convergence.rule(row.config)
        assert arguments == {"points": 0.5, "epochs": 5, "at_least": 20}
        told = row.reproduction.settings["epochs"]
        assert told.origin == "unknown"
        assert "less than half a point, half the margin, in 5 epochs; at least 20, at most 100" in told.where
        assert row.reproduction.margin_percent == 1.0


def test_a_wrong_rule_is_refused(tmp_path: Path, in_its_folder: None, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rule.yaml"
    rule = {"class_path": convergence.CALLBACK, "init_args": {"points": 0.5, "epochs": 0, "at_least": 3}}
    file.write_text(json.dumps({"trainer": {"callbacks": [rule]}}))
    assert main(["fit", *SEQUENTIAL, "-c", str(file)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
