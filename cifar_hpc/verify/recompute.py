"""Recomputes what a record says from the evidence that lies beside it, without training.

Every metric of the selected epochs must follow from `predictions.npz`, its labels must be the dataset's, and
the digests must be those of the files. What predictions on the test set cannot show is the training: the curve
between the selected epochs, the training accuracy and the times rest on the record's word.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.metrics import TESTED
from cifar_hpc.collection.typed import shown
from cifar_hpc.data.datasets import DATASETS, Dataset
from cifar_hpc.data.sample import load_sample
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.records.predictions import FILE_NAME, MOST_BYTES, Answers, Predictions, read_predictions
from cifar_hpc.records.record import Record, Selected, read_record
from cifar_hpc.verify.check import TOLERANCE, Check
from cifar_hpc.verify.copies import Originals, learned
from cifar_hpc.verify.settings import CONFIG, check_settings

_LOSS_TOLERANCE = 1e-4
"""For one image's loss and confidence, which are float32 and come from the same logits."""


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
    originals = Originals(chosen())
    for file in files:
        try:
            record = read_record(file)
            found.append((file, check_record(record)))
            if all(check.agrees for check in found[-1][1]):
                originals.add(replace(record, learned=learned(record, read_predictions(file.with_name(FILE_NAME)))))
        except UserError as error:
            problems.append(str(error))
    broken = any(not check.agrees for _, checks in found for check in checks)
    if json_file != "-":
        for file, checks in found:
            tell(_checks_as_text(file, checks))
    if json_file is not None:
        records = [
            {"record": str(file), "checks": [asdict(check) | {"agrees": check.agrees} for check in checks]}
            for file, checks in found
        ]
        write_json_output({"problems": problems, "records": records}, json_file)
    if problems:
        raise UserError("\n".join(problems))
    return 1 if broken else 0


def read_sound_record(file: Path) -> Record:
    """Reads a record, and refuses it when it does not follow from what lies beside it.

    A record file on its own is taken at its word; `verify` says so.

    Raises:
        UserError: if the record is bad, or does not follow from its evidence.
    """
    record = read_record(file)
    if not record.is_complete:
        return record
    predictions = read_predictions(file.with_name(FILE_NAME)) if has_predictions(record) else None
    broken = next((check for check in _checks(record, predictions) if not check.agrees), None)
    if broken is not None:
        raise UserError(f"{file} does not follow from its evidence: {broken.sentence}")
    return replace(record, learned=learned(record, predictions))


def has_predictions(record: Record) -> bool:
    """Checks whether predictions.npz lies beside the record."""
    return record.path.with_name(FILE_NAME).exists()


def check_record(record: Record) -> list[Check]:
    """Checks everything that can be recomputed of a complete record.

    Raises:
        UserError: if the run has not ended, or config.yaml or predictions.npz is missing or damaged.
    """
    if not record.is_complete:
        raise UserError(f"{record.path}: the run is {record.status}, so there is nothing to recompute yet")
    config = record.path.with_name(CONFIG)
    if not config.is_file():
        raise UserError(f"{config} is missing; its digest is part of the record")
    return list(_checks(record, read_predictions(record.path.with_name(FILE_NAME))))


def _checks(record: Record, predictions: Predictions | None) -> Iterator[Check]:
    """Checks what follows from the files that lie beside a record."""
    if record.dataset.name not in DATASETS:
        known = ", ".join(DATASETS)
        raise UserError(f"{record.path}: dataset.name is {shown(record.dataset.name)}; it must be one of {known}")
    for key, name in (("config_sha256", CONFIG), ("predictions_sha256", FILE_NAME)):
        file = record.path.with_name(name)
        if file.exists():
            yield Check(key, getattr(record, key), _digest(file), name)
    yield from check_settings(record)
    if record.tier != "smoke":
        dataset = DATASETS[record.dataset.name]
        told = record.dataset.test_images
        yield Check("dataset.test_images", told, dataset.test_images, f"the official {dataset.name}")
    if predictions is not None:
        yield from _check_predictions(record, predictions, DATASETS[record.dataset.name])
    # A test of some batches, which only a smoke run may have, is about other images than the curve.
    part = predictions is not None and len(predictions.labels) < record.dataset.test_images
    for key, selected in record.selections.items():
        if not (part and key == "selection.last"):
            yield from _check_curve(record, key, selected)


def _digest(file: Path) -> str:
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise UserError(f"{file} is no file of at most {MOST_BYTES >> 20} MiB")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_predictions(record: Record, predictions: Predictions, dataset: Dataset) -> Iterator[Check]:
    yield from _check_labels(record, dataset, predictions.labels)
    for key, selected in record.selections.items():
        name = _answers_of(record, key, selected)
        answers = predictions.answers.get(name)
        if answers is None:
            raise UserError(f"{record.path.with_name(FILE_NAME)} holds no predictions of {key}")
        for metric, value in metrics(answers, predictions.labels, dataset.classes).items():
            yield Check(f"{key}.{metric}", getattr(selected, metric), value, FILE_NAME)
        impossible = int(_impossible_losses(answers, predictions.labels).sum())
        yield Check(f"number of {key}'s losses that their confidences rule out", 0, impossible, FILE_NAME)
        if answers.ranks is not None:
            misplaced = int(((answers.ranks == 0) != (answers.predicted == predictions.labels)).sum())
            yield Check(f"number of {key}'s ranks that their classes rule out", 0, misplaced, FILE_NAME)
        if selected.test_accuracy_tta is not None:
            views = predictions.answers.get("tta")
            if views is None:
                raise UserError(f"{record.path.with_name(FILE_NAME)} holds no predictions of {key}.test_accuracy_tta")
            accuracy = metrics(views, predictions.labels, dataset.classes)["test_accuracy"]
            yield Check(f"{key}.test_accuracy_tta", selected.test_accuracy_tta, accuracy, FILE_NAME)


def _answers_of(record: Record, key: str, selected: Selected) -> str:
    """Names the kept predictions from which a selected epoch's metrics follow."""
    part, _, name = key.partition(".")
    if part == "selection":
        return name
    return "last" if selected.epoch == record.epochs.done else f"epoch{name}"


def _check_labels(record: Record, dataset: Dataset, labels: npt.NDArray[np.integer[Any]]) -> Iterator[Check]:
    """Checks that the labels are the official ones, or the sample's; those of part of a test set decide nothing."""
    sha256, true = dataset.sha256, dataset.test_labels_sha256
    if record.tier == "smoke" and record.dataset.sha256 != sha256:
        sample = load_sample(dataset.name)
        sha256, true = sample.sha256(), hashlib.sha256(sample.test_labels.tobytes()).hexdigest()
    yield Check("dataset.sha256", record.dataset.sha256, sha256, f"the official {dataset.name}")
    if record.tier != "smoke":
        yield Check("number of test images", dataset.test_images, len(labels), FILE_NAME)
    if record.tier != "smoke" or len(labels) == record.dataset.test_images:
        found = hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()
        yield Check("digest of the test labels", true, found, FILE_NAME)


def _check_curve(record: Record, key: str, selected: Selected) -> Iterator[Check]:
    """Checks that a selected epoch and the curve say the same, and that the best epoch is the curve's best."""
    point = record.at(selected.epoch)
    for name in ("train_accuracy", "train_loss"):
        yield Check(f"{key}.{name}", getattr(selected, name), getattr(point, name), "the curve")
    # The last epoch is tested again, perhaps in other batches, whose rounding may move a few images.
    again = _answers_of(record, key, selected) == "last"
    few = max(0.002, 3 / max(1, record.dataset.test_images))
    for name in TESTED:
        told, follows = getattr(selected, name), getattr(point, name)
        if follows is not None:  # points of schema 1 hold no macro averages
            moved = max(few, 0.01 * follows) if name == "test_loss" else few
            yield Check(
                f"{key}.{name}", told, follows, f"the curve's epoch {selected.epoch}", moved if again else TOLERANCE
            )
    accuracies = [point.test_accuracy for point in record.curve if point.test_accuracy is not None]
    if key == "selection.best_test" and accuracies:
        yield Check(f"{key}.test_accuracy", selected.test_accuracy, max(accuracies), "the curve")


def metrics(answers: Answers, labels: npt.NDArray[np.integer[Any]], classes: int) -> dict[str, float | None]:
    """Computes the metrics that follow from predictions, by their definitions and in float64.

    Macro averages are over the classes that occur, as true or as predicted ones, which is what torchmetrics
    does; a class that is never predicted has precision 0.

    Args:
        answers: of the network.
        labels: shape (N,), true classes.
        classes: number of classes.

    Returns:
        By name; the loss is null where it is no finite number, as in a record.
    """
    with np.errstate(all="ignore"):  # what a network that diverged says is no number
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
    """Counts images, shape (classes, classes): the row is the true class, the column the predicted one.

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
    """Marks the images whose loss contradicts the confidence.

    The loss is −ln of the true class' probability: of a right answer that is the confidence itself, of a wrong
    one it is no more than the confidence, as the predicted class has the largest.
    """
    right = answers.predicted == labels
    with np.errstate(all="ignore"):
        off = answers.losses + np.log(np.maximum(answers.confidence.astype(np.float64), 1e-300))
        impossible: npt.NDArray[np.bool_] = np.where(right, np.abs(off) > _LOSS_TOLERANCE, off < -_LOSS_TOLERANCE)
    return impossible


def _checks_as_text(file: Path, checks: list[Check]) -> str:
    broken = [check for check in checks if not check.agrees]
    if not broken:
        return f"{file}: all {len(checks)} values follow from the evidence"
    return "\n".join([f"{file} does not follow from its evidence:", *(f"  {check.sentence}" for check in broken)])
