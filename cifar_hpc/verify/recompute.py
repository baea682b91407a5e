"""Recomputes what a record says from the evidence that lies beside it, without training.

Every metric of the selected epochs must follow from `predictions.npz`, its labels must be the dataset's, and
the digests must be those of the files. What predictions on the test set cannot show is the training: the curve
between the selected epochs, the training accuracy and the times rest on the record's word.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection import convergence
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.data.datasets import DATASETS, Dataset
from cifar_hpc.data.sample import load_sample
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output
from cifar_hpc.records.predictions import FILE_NAME, Answers, read_predictions
from cifar_hpc.records.record import Record, read_record

TOLERANCE = 1e-6
"""The last decimal that a record keeps: its metrics are rounded to six, and were computed in float32."""

_LOSS_TOLERANCE = 1e-4
"""For one image's loss and confidence, which are float32 and come from the same logits."""


@dataclass(frozen=True)
class Check:
    """One thing that a record says, and what its evidence says.

    Attributes:
        what: key of the record, or what else must hold.
        recorded: as the record has it, or what must be.
        recomputed: from the evidence.
        source: the evidence.
    """

    what: str
    recorded: Any
    recomputed: Any
    source: str

    @property
    def agrees(self) -> bool:
        """Equal, or numbers that differ in the last kept decimal at most."""
        if isinstance(self.recorded, float) and isinstance(self.recomputed, float):
            return abs(self.recorded - self.recomputed) <= TOLERANCE + 1e-9
        return bool(self.recorded == self.recomputed)

    @property
    def sentence(self) -> str:
        """How they disagree."""
        return f"{self.what} is {_short(self.recorded)}, but from {self.source} follows {_short(self.recomputed)}"


def command(files: Iterable[Path], problems: list[str], json_file: str | None) -> int:
    """Recomputes records, and says of each whether it follows from its evidence.

    Args:
        files: record files.
        problems: what was wrong with the request already.
        json_file: where JSON goes; `-` for standard output, and then nothing else goes there.

    Returns:
        0 when everything follows, 1 when something does not; 2 by an error when a record or its evidence
        could not be read, the others being recomputed still.
    """
    found: list[tuple[Path, list[Check]]] = []
    for file in files:
        try:
            found.append((file, check_record(read_record(file))))
        except UserError as error:
            problems.append(str(error))
    broken = any(not check.agrees for _, checks in found for check in checks)
    if json_file != "-":
        for file, checks in found:
            print(_told(file, checks))
    if json_file is not None:
        records = [
            {"record": str(file), "checks": [asdict(check) | {"agrees": check.agrees} for check in checks]}
            for file, checks in found
        ]
        write_json_output({"problems": problems, "records": records}, json_file)
    if problems:
        raise UserError("; ".join(problems))
    return 1 if broken else 0


def read_sound_record(file: Path) -> Record:
    """Reads a record, and refuses it when predictions.npz lies beside it and anything does not fit.

    A record file on its own is taken at its word; `verify` says so.

    Raises:
        UserError: if the record is bad, or does not follow from its evidence.
    """
    record = read_record(file)
    if record.is_complete and has_predictions(record):
        broken = next((check for check in _checks(record) if not check.agrees), None)
        if broken is not None:
            raise UserError(f"{file} does not follow from its evidence: {broken.sentence}")
    return record


def has_predictions(record: Record) -> bool:
    """Whether predictions.npz lies beside the record."""
    return record.path.with_name(FILE_NAME).is_file()


def check_record(record: Record) -> list[Check]:
    """Everything that can be recomputed of a complete record.

    Raises:
        UserError: if the run has not ended, or config.yaml or predictions.npz is missing or damaged.
    """
    if not record.is_complete:
        raise UserError(f"{record.path}: the run is {record.content['status']}, so there is nothing to recompute yet")
    config = record.path.with_name("config.yaml")
    if not config.is_file():
        raise UserError(f"{config} is missing; its digest is part of the record")
    return list(_checks(record))


def _checks(record: Record) -> Iterator[Check]:
    content, dataset = record.content, _dataset(record)
    predictions = read_predictions(record.path.with_name(FILE_NAME))
    for key, name in (("config_sha256", "config.yaml"), ("predictions_sha256", FILE_NAME)):
        file = record.path.with_name(name)
        # Records written before November 2026 have no digest of the predictions.
        if key in content and file.is_file():
            yield Check(key, content[key], hashlib.sha256(file.read_bytes()).hexdigest(), name)
    yield from _check_config(record)
    yield from _check_labels(record, dataset, predictions.labels)
    selections = {f"selection.{name}": (name, selected) for name, selected in content["selection"].items() if selected}
    last = content["selection"]["last"]["epoch"]
    for epoch, selected in content.get("printed", {}).items():
        selections[f"printed.{epoch}"] = ("last" if selected["epoch"] == last else f"epoch{epoch}", selected)
    for key, (name, selected) in selections.items():
        answers = predictions.answers.get(name)
        if answers is None:
            raise UserError(f"{record.path.with_name(FILE_NAME)} holds no predictions of {key}")
        for metric, value in metrics(answers, predictions.labels, dataset.classes).items():
            recorded = selected.get(metric)
            yield Check(f"{key}.{metric}", None if recorded is None else float(recorded), value, FILE_NAME)
        impossible = int(_impossible_losses(answers, predictions.labels).sum())
        yield Check(f"number of {key}'s losses that their confidences rule out", 0, impossible, FILE_NAME)
        if answers.ranks is not None:
            misplaced = int(((answers.ranks == 0) != (answers.predicted == predictions.labels)).sum())
            yield Check(f"number of {key}'s ranks that their classes rule out", 0, misplaced, FILE_NAME)
        if "test_accuracy_tta" in selected:
            views = predictions.answers.get("tta")
            if views is None:
                raise UserError(f"{record.path.with_name(FILE_NAME)} holds no predictions of {key}.test_accuracy_tta")
            accuracy = metrics(views, predictions.labels, dataset.classes)["test_accuracy"]
            yield Check(f"{key}.test_accuracy_tta", float(selected["test_accuracy_tta"]), accuracy, FILE_NAME)
        yield from _check_curve(record, key, selected)


def _dataset(record: Record) -> Dataset:
    name = record.content["dataset"]["name"]
    if name not in DATASETS:
        raise UserError(f"{record.path}: dataset.name is {name!r}; it must be one of {', '.join(DATASETS)}")
    return DATASETS[name]


def _check_config(record: Record) -> Iterator[Check]:
    """The run's configuration is of the same row, seed, network and dataset as the record."""
    file = record.path.with_name("config.yaml")
    if not file.is_file():
        return
    config, content = read_yaml(file), record.content
    group, model, data = (config.get(name) or {} for name in ("reproduction", "model", "data"))
    yield Check("row", content["row"], group.get("row"), file.name)
    yield Check("seed", content["seed"], config.get("seed_everything"), file.name)
    yield Check("model.class_path", content["model"]["class_path"], model.get("class_path"), file.name)
    yield Check("dataset.name", content["dataset"]["name"], data.get("dataset"), file.name)
    if record.tier == "full" and convergence.rule(config) is not None:
        accuracies = [point["train_accuracy"] for point in content["curve"]]
        ends = convergence.last_epoch(config, accuracies)
        yield Check("epochs.done", record.epochs_done, ends, f"the rule in {file.name} and the curve")
    elif record.ended_by_rule:
        yield Check("epochs.planned", record.epochs_done, record.most_epochs, f"{file.name}, which has no rule")


def _check_labels(record: Record, dataset: Dataset, labels: npt.NDArray[np.integer[Any]]) -> Iterator[Check]:
    """The labels must be the official ones, or the sample's; those of part of a test set decide nothing."""
    sha256, true = dataset.sha256, dataset.test_labels_sha256
    if record.tier == "smoke" and record.content["dataset"]["sha256"] != sha256:
        sample = load_sample(dataset.name)
        sha256, true = sample.sha256(), hashlib.sha256(sample.test_labels.tobytes()).hexdigest()
    yield Check("dataset.sha256", record.content["dataset"]["sha256"], sha256, f"the official {dataset.name}")
    if record.tier != "smoke":
        yield Check("number of test images", dataset.test_images, len(labels), FILE_NAME)
    if record.tier != "smoke" or len(labels) == record.content["dataset"]["test_images"]:
        found = hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()
        yield Check("digest of the test labels", true, found, FILE_NAME)


def _check_curve(record: Record, key: str, selected: dict[str, Any]) -> Iterator[Check]:
    """A selected epoch and the curve tell the same, and the best epoch is the curve's best."""
    curve = record.content["curve"]
    point: dict[str, Any] = next((point for point in curve if point["epoch"] == selected["epoch"]), {})
    tested = ("test_accuracy", "test_loss", "precision", "recall", "f1", "top5_accuracy")
    # Points of schema 1 hold no macro averages, and the last epoch is tested again, by the number of processes at hand.
    for name in ("train_accuracy", "train_loss", *(tested if "f1" in point and key != "selection.last" else ())):
        if selected[name] is not None and point.get(name) is not None:
            yield Check(f"{key}.{name}", float(selected[name]), float(point[name]), "the curve")
    accuracies = [point["test_accuracy"] for point in curve if point.get("test_accuracy") is not None]
    if key == "selection.best_test" and accuracies:
        yield Check(f"{key}.test_accuracy", float(selected["test_accuracy"]), float(max(accuracies)), "the curve")


def metrics(answers: Answers, labels: npt.NDArray[np.integer[Any]], classes: int) -> dict[str, float | None]:
    """The metrics that follow from predictions, by their definitions and in float64.

    Macro averages are over the classes that occur, as true or as predicted ones, which is what torchmetrics
    does; a class that is never predicted has precision 0.

    Args:
        answers: of the network.
        labels: shape (N,), true classes.
        classes: number of classes.

    Returns:
        By name; the loss is null where it is no finite number, as in a record.
    """
    loss = float(answers.losses.mean(dtype=np.float64))
    counts = confusion(answers, labels, classes)
    hits, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    occur = true + predicted > 0
    per_class = {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(true, 1),
        "f1": 2 * hits / np.maximum(true + predicted, 1),
    }
    return {
        "test_accuracy": float(hits.sum() / len(labels)),
        **{name: float(values[occur].mean()) for name, values in per_class.items()},
        "test_loss": loss if math.isfinite(loss) else None,
        **({} if answers.ranks is None else {"top5_accuracy": float((answers.ranks < 5).mean())}),
    }


def confusion(answers: Answers, labels: npt.NDArray[np.integer[Any]], classes: int) -> npt.NDArray[np.int64]:
    """Counts of images, shape (classes, classes): the row is the true class, the column the predicted one.

    Raises:
        UserError: if a class lies beyond the dataset's.
    """
    most = max(int(labels.max()), int(answers.predicted.max()))
    if most >= classes:
        raise UserError(f"{FILE_NAME} names class {most}, but the dataset has only {classes} classes, counted from 0")
    pairs = labels.astype(np.int64) * classes + answers.predicted
    counts: npt.NDArray[np.int64] = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return counts


def _impossible_losses(answers: Answers, labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Images whose loss contradicts the confidence.

    The loss is −ln of the true class' probability: of a right answer that is the confidence itself, of a wrong
    one it is no more than the confidence, as the predicted class has the largest.
    """
    least = -np.log(np.maximum(answers.confidence.astype(np.float64), 1e-300))
    off = answers.losses - least
    right = answers.predicted == labels
    impossible: npt.NDArray[np.bool_] = np.where(right, np.abs(off) > _LOSS_TOLERANCE, off < -_LOSS_TOLERANCE)
    return impossible


def _told(file: Path, checks: list[Check]) -> str:
    broken = [check for check in checks if not check.agrees]
    if not broken:
        return f"{file}: all {len(checks)} values follow from the evidence"
    return "\n".join([f"{file} does not follow from its evidence:", *(f"  {check.sentence}" for check in broken)])


def _short(value: Any) -> str:
    """Digests by their first digits, other values as they are."""
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:12]}…"
    return f"{value:.6f}".rstrip("0") if isinstance(value, float) else str(value)
