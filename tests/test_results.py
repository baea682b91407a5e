"""The committed records: every metric follows from the predictions, and the README's table from the records."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cifar_hpc.data.datasets import DATASETS
from cifar_hpc.records.record import read_record
from cifar_hpc.report import rows_table as rows
from cifar_hpc.verify import reader
from tests.conftest import ROOT

RECORDS = sorted((ROOT / "results").rglob("result.json"))


def test_there_are_records() -> None:
    assert RECORDS


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: str(file.parent.relative_to(ROOT / "results")))
def test_metrics_follow_from_the_predictions(file: Path) -> None:
    record = read_record(file)
    dataset = DATASETS[record.dataset.name]
    assert record.is_complete
    assert record.dataset.sha256 == dataset.sha256
    assert record.config_sha256 == hashlib.sha256((file.parent / "config.yaml").read_bytes()).hexdigest()
    assert record.software["git_dirty"] is False
    predictions = np.load(file.parent / "predictions.npz")
    labels = predictions["label"]
    assert np.bincount(labels).tolist() == [dataset.test_images // dataset.classes] * dataset.classes
    for selection, prefix in (("last", ""), ("best_test", "best_test_")):
        metrics, predicted = vars(record.selection.chosen[selection]), predictions[f"{prefix}class"]
        precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro")
        assert metrics["test_accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-9)
        assert metrics["recall"] == metrics["test_accuracy"]
        assert metrics["precision"] == pytest.approx(precision, abs=1e-6)
        assert metrics["recall"] == pytest.approx(recall, abs=1e-6)
        assert metrics["f1"] == pytest.approx(f1, abs=1e-6)
        assert metrics["test_loss"] == pytest.approx(predictions[f"{prefix}loss"].mean(dtype=np.float64), abs=1e-6)


def test_records_are_filed_under_their_row_and_seed() -> None:
    for file in RECORDS:
        record = read_record(file)
        assert file.parent.parent.name == record.name
        assert file.parent.name.split("-")[0] == f"seed{record.seed}"


def test_readmes_table_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = reader.read_all(committed_only=True)
    described = rows.describe(found)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == rows.with_table(readme, described), "run `make results`"
