"""A stranger recomputes a kept record; a tampered one is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.datasets import DATASETS
from cifar_hpc.errors import UserError
from cifar_hpc.records.predictions import Answers
from cifar_hpc.records.record import read_record
from cifar_hpc.verify import recompute
from tests import made_up
from tests.conftest import ROOT, Command, Refuse

KEPT = made_up.KEPT
Change = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a kept run."""
    return Path(shutil.copytree(KEPT, tmp_path / "ghugre_sequential" / "seed1"))


def tamper(folder: Path, change: Change) -> None:
    """Changes a run's record and predictions."""
    record = json.loads((folder / "result.json").read_text())
    with np.load(folder / "predictions.npz") as content:
        arrays = dict(content.items())
    before = record["predictions_sha256"]
    change(record, arrays)
    np.savez_compressed(folder / "predictions.npz", **arrays)
    if record["predictions_sha256"] == before:
        record["predictions_sha256"] = made_up.digest(folder / "predictions.npz")
    made_up.write(folder, record)


def broken(folder: Path) -> list[str]:
    return [c.what for c in recompute.check_record(read_record(folder / "result.json")) if not c.agrees]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_metrics_are_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 500).astype(np.uint8)
    # One class is never predicted.
    predicted = np.where(rng.random(500) < 0.6, labels, 0).astype(np.uint8)
    predicted[predicted == classes - 1] = 0
    confidence, losses = np.full(500, 0.5, np.float32), rng.random(500).astype(np.float32)
    found = recompute.metrics(Answers(predicted, confidence, losses), labels, classes)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert found["test_accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((precision, recall, f1))
    assert found["test_loss"] == pytest.approx(losses.mean())
    counts = recompute.confusion(Answers(predicted, confidence, losses), labels, classes)
    assert (counts == confusion_matrix(labels, predicted, labels=range(classes))).all()


def test_kept_records_follow(command: Command) -> None:
    done = command("verify", "--recompute", ROOT / "results", "--json", "-")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["problems"] == []
    assert len(found["records"]) == len(list((ROOT / "results").rglob("result.json")))
    for record in found["records"]:
        checked = {check["what"] for check in record["checks"]}
        assert checked >= {"config_sha256", "digest of the test labels", "selection.best_test.f1"}
        assert all(check["agrees"] for check in record["checks"])


def test_a_fresh_run_follows(finished_run: Path) -> None:
    checks = recompute.check_record(read_record(finished_run / "result.json"))
    assert {"predictions_sha256", "digest of the test labels"} <= {check.what for check in checks}
    assert broken(finished_run) == []


def test_test_time_augmentation_is_recomputed(folder: Path) -> None:
    def add(record: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays |= {f"tta_{name}": arrays[f"best_test_{name}"] for name in ("class", "confidence", "loss")}
        record["selection"]["last"]["test_accuracy_tta"] = 0.7171

    def improve(record: dict[str, Any], arrays: dict[str, Any]) -> None:
        record["selection"]["last"]["test_accuracy_tta"] = 0.72

    tamper(folder, add)
    assert broken(folder) == []
    tamper(folder, improve)
    assert broken(folder) == ["selection.last.test_accuracy_tta"]


def test_label_digests_are_the_datasets(cifar10: CIFARArrays, cifar100: CIFARArrays) -> None:
    for arrays in (cifar10, cifar100):
        digest = hashlib.sha256(arrays.test_labels.tobytes()).hexdigest()
        assert digest == DATASETS[arrays.dataset.name].test_labels_sha256


def better_metrics(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["selection"]["last"]["test_accuracy"] = 0.7156


def one_image_better(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["selection"]["last"] |= {"test_accuracy": 0.7107, "recall": 0.7107}


def forged_labels(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["label"] = arrays["class"].copy()
    answers = Answers(arrays["class"], arrays["confidence"], arrays["loss"])
    record["selection"]["last"] |= recompute.metrics(answers, arrays["label"], 10)


def forged_classes(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    wrong = np.flatnonzero(arrays["class"] != arrays["label"])[:100]
    arrays["class"][wrong] = arrays["label"][wrong]
    answers = Answers(arrays["class"], arrays["confidence"], arrays["loss"])
    record["selection"]["last"] |= recompute.metrics(answers, arrays["label"], 10)


def better_training(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["selection"]["last"]["train_accuracy"] = 0.8595


def another_dataset(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["dataset"]["sha256"] = "0" * 64


def another_row(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["row"] = "ghugre_parallel"


def another_seed(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["seed"] = 6


def another_config(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["config_sha256"] = "0" * 64


def another_file(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["predictions_sha256"] = "0" * 64


def half_the_test_set(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    for name in arrays:
        arrays[name] = arrays[name][:5000]


def hidden_best(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["curve"][10]["test_accuracy"] = 0.75


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (better_metrics, "selection.last.test_accuracy"),
        (one_image_better, "selection.last.test_accuracy"),
        (forged_labels, "digest of the test labels"),
        (forged_classes, "number of selection.last's losses that their confidences rule out"),
        (better_training, "selection.last.train_accuracy"),
        (another_dataset, "dataset.sha256"),
        (another_row, "row"),
        (another_seed, "seed"),
        (another_config, "config_sha256"),
        (another_file, "predictions_sha256"),
        (half_the_test_set, "number of test images"),
        (hidden_best, "selection.best_test.test_accuracy"),
    ],
)
def test_tampered_records_are_refused(folder: Path, change: Change, told: str) -> None:
    assert broken(folder) == []
    tamper(folder, change)
    assert told in broken(folder)
    with pytest.raises(UserError, match="does not follow from its evidence"):
        recompute.read_sound_record(folder / "result.json")


def test_statuses(command: Command, refuse: Refuse, folder: Path) -> None:
    tamper(folder, better_metrics)
    done = command("verify", "--recompute", folder)
    # The question was whether it follows, and the answer is no.
    assert (done.status, done.err) == (1, "")
    assert "selection.last.test_accuracy is 0.7156, but from predictions.npz follows 0.7106" in done.out
    # The question was whether the report holds, and this record is no evidence.
    assert "does not follow from its evidence" in refuse("verify", folder)
    (folder / "predictions.npz").write_bytes((folder / "predictions.npz").read_bytes()[:5000])
    assert "is damaged" in refuse("verify", folder)
    assert "is damaged" in refuse("verify", "--recompute", folder)
    (folder / "predictions.npz").unlink()
    assert "predictions.npz is missing" in refuse("verify", "--recompute", folder)
    assert "--junit" in refuse("verify", "--recompute", folder, "--junit", "out.xml")


def test_record_on_its_own_is_judged_with_a_note(command: Command, folder: Path) -> None:
    (folder / "predictions.npz").unlink()
    done = command("verify", folder / "result.json")
    assert done.status == 3
    assert "note: no predictions.npz beside 1 of 1 records" in done.out
