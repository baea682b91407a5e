"""One reader of records: what is evidence for a row, and that every command tells of a record it refuses."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.collection.experiment import kind_of_experiment
from cifar_hpc.records.record import Record
from cifar_hpc.report import contents
from cifar_hpc.verify import reader
from tests import made_up
from tests.conftest import COLLECTION, ROOT, Command

RESNET50 = json.loads((ROOT / "results" / "shahrin_table2_row7" / "seed1" / "result.json").read_text())


def resnet18_record(epochs: int, **changes: Any) -> Record:
    """A record of shahrin's ResNet-18 over so many epochs, with epoch 159 kept on the way."""
    row = f"shahrin_table2_row{2 if epochs == 159 else 3}"
    last = RESNET50["selection"]["last"]
    if epochs > 159:
        changes |= {
            "printed": {"159": last | {"epoch": 159, "test_accuracy": 0.85}},
            "selection__best_test__epoch": 300,
        }
    return made_up.record(row, real=RESNET50, epochs=epochs, selection__last__test_accuracy=0.86, **changes)


@pytest.mark.parametrize(
    ("epochs", "row", "accuracy"),
    [
        (349, "shahrin_table2_row1", 0.86),
        (349, "shahrin_table2_row2", 0.85),
        (349, "shahrin_table2_row4", 0.85),
        (159, "shahrin_table2_row4", 0.86),
        (159, "shahrin_table2_row1", None),  # 159 epochs say nothing of 349
        (159, "shahrin_table2_row3", None),
    ],
)
def test_one_run_judges_the_rows_whose_epochs_it_reaches(epochs: int, row: str, accuracy: float | None) -> None:
    found = reader.as_evidence(resnet18_record(epochs), COLLECTION.row(row))
    if accuracy is None:
        assert found is None
        return
    assert found is not None
    planned = COLLECTION.row(row).config["trainer"]["max_epochs"]
    assert found.last("test_accuracy") == accuracy
    assert (found.name, found.epochs_done, len(found.curve)) == (row, planned, planned)
    assert found.answers == ("epoch159" if (epochs, planned) == (349, 159) else "last")
    assert found.shared_from == f"shahrin_table2_row{3 if epochs == 349 else 2}"
    # What was best after the printed epoch is nothing that a run of so many epochs could have chosen.
    if planned == 159 and epochs == 349:
        assert found.selection.best_test is None


@pytest.mark.parametrize(
    "changes",
    [{"tier": "smoke"}, {"changed_from_row": {"model.init_args.optimizer.init_args.lr": [0.1, 0.2]}}],
    ids=["smoke", "learning rate"],
)
def test_another_experiment_is_not_shared(changes: dict[str, Any]) -> None:
    assert reader.as_evidence(resnet18_record(349, **changes), COLLECTION.row("shahrin_table2_row1")) is None


ROW = COLLECTION.row("shahrin_table2_row1").config


def changed(key: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(ROW)
    *parents, last = key.split(".")
    part = content
    for parent in parents:
        part = part[parent]
    part[last] = value
    return content


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("trainer.threads", 4, True),
        ("trainer.benchmark", True, True),
        ("trainer.precision", "bf16-mixed", True),
        ("trainer.max_epochs", 159, True),
        ("model.init_args.optimizer.init_args.fused", True, True),
        ("seed_everything", 7, True),
        ("reproduction.label", "another", True),
        ("model.init_args.optimizer.init_args.lr", 0.2, False),
        ("model.init_args.scheduler.init_args.gamma", 0.2, False),
        ("data.batch_size", 64, False),
        ("trainer.gradient_clip_val", 1.0, False),
    ],
)
def test_what_makes_an_experiment(key: str, value: Any, same: bool) -> None:
    assert (kind_of_experiment(ROW) == kind_of_experiment(changed(key, value))) is same


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.init_args.scheduler", {"class_path": "mine.OverAllEpochs", "init_args": {}}),
        ("model.init_args.scheduler", "mine.OverAllEpochs"),
        ("model.class_path", "cifar_hpc.models.Airbench"),
    ],
)
def test_what_may_look_at_the_planned_epochs_is_shared_at_the_same_number_only(key: str, value: Any) -> None:
    first = changed(key, value)
    second = copy.deepcopy(first)
    assert kind_of_experiment(first) == kind_of_experiment(second)
    second["trainer"]["max_epochs"] = 159
    assert kind_of_experiment(first) != kind_of_experiment(second)


def test_every_network_that_looks_at_the_planned_epochs_is_known_to() -> None:
    # Whoever writes another one must name it in cifar_hpc/collection/experiment.py.
    names = ("max_epochs", "estimated_stepping_batches", "num_training_batches")
    files = [f for f in (ROOT / "cifar_hpc" / "models").glob("*.py") if any(name in f.read_text() for name in names)]
    assert [file.name for file in files] == ["airbench.py"]


def test_verify_says_whose_record_it_rests_on(command: Command) -> None:
    done = command("verify", "shahrin_table2_row8")
    assert "note: rests on shahrin_table2_row7, which is one experiment with it" in done.out
    found = json.loads(command("verify", "shahrin_table2_row8", "--json", "-").out)["rows"][0]
    assert found["shared_from"] == ["shahrin_table2_row7"]
    assert found["decides"]
    assert found["judgements"]["test_accuracy_percent"]["reported"] == 72.78


def test_a_forged_record_is_told_by_every_command(command: Command, tmp_path: Path) -> None:
    kept = Path(shutil.copytree(ROOT / "results" / "ghugre_sequential", tmp_path / "results" / "ghugre_sequential"))
    content = json.loads((kept / "seed1" / "result.json").read_text())
    content["selection"]["last"]["test_accuracy"] = 0.7156
    (kept / "seed1" / "result.json").write_text(json.dumps(content))
    (tmp_path / "README.md").write_text("<!-- rows: begin (`make results`) -->\n<!-- rows: end -->\n")
    told = "results/ghugre_sequential/seed1/result.json does not follow from its evidence"
    for line in (
        ("verify", "ghugre_sequential"),
        ("verify", "results"),
        ("rows",),
        ("rows", "--readme", "README.md", "--durations", "durations.md"),
        ("report",),
        ("claims", "ghugre"),
    ):
        assert told in command(*line).sentence(), line
    assert "4 seeds" in command("rows").out  # the others count


def test_the_page_shows_the_mistakes_of_the_epoch_that_is_judged() -> None:
    # Fifty epochs of one row tell of the fifteenth of the other: the predictions are that epoch's.
    row = COLLECTION.row("ghugre_sequential")
    kept = reader.read([ROOT / "results" / "ghugre_parallel" / "seed2" / "result.json"])
    (record,) = kept.evidence(row)
    shown = contents._confusion([record])
    assert shown is not None
    assert shown.percent.diagonal().mean() / 100 == pytest.approx(record.last("recall"), abs=1e-6)
    assert record.last("recall") != kept.records[0].last("recall")
