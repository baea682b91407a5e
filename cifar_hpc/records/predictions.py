"""Reads back `predictions.npz`: what the network said of every test image."""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_hpc.errors import UserError

FILE_NAME = "predictions.npz"
_KEPT = re.compile(r"(best_test|best_holdout|tta|epoch[1-9]\d*)_class")
"""Whose answers may be kept besides those of the last epoch, which have plain names: of the best epochs, of the last
epoch with test-time augmentation, and of epochs for which a report prints a number."""

_KINDS = {"class": np.integer, "confidence": np.floating, "loss": np.floating, "rank": np.integer}


@dataclass(frozen=True)
class Answers:
    """The answers of one epoch's network, in dataset order.

    Attributes:
        predicted: shape (N,), the class with the largest logit.
        confidence: shape (N,), softmax probability of that class.
        losses: shape (N,), cross-entropy of each image, nats.
        ranks: shape (N,), number of classes placed before the true one; null in records of schema 1.
    """

    predicted: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    losses: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Predictions:
    """What predictions.npz holds.

    Attributes:
        labels: shape (N,), the true classes that the run saw.
        answers: by name: `last`, and as far as they were kept `best_test`, `best_holdout`, `tta` (the last epoch with
            test-time augmentation) and `epoch7`, for an epoch of which a report prints a number.
    """

    labels: npt.NDArray[np.uint8]
    answers: dict[str, Answers]


def read_predictions(path: Path) -> Predictions:
    """Reads and checks a predictions.npz.

    Raises:
        UserError: if it is missing, damaged, misses an array, or an array has the wrong type or length.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; it holds the predictions from which the metrics follow") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged and cannot be read: {error}") from error
    labels = _array(arrays, "label", np.integer, None, path)
    answers = {}
    ranked = "rank" in arrays
    for name in ("last", *(match[1] for array in arrays if (match := _KEPT.fullmatch(array)))):
        prefix = "" if name == "last" else f"{name}_"
        found = [
            None if part == "rank" and not ranked else _array(arrays, f"{prefix}{part}", kind, len(labels), path)
            for part, kind in _KINDS.items()
        ]
        answers[name] = Answers(*found)  # type: ignore[arg-type]
    return Predictions(labels, answers)


def _array(arrays: dict[str, Any], name: str, kind: type, length: int | None, path: Path) -> npt.NDArray[Any]:
    if name not in arrays:
        raise UserError(f"{path} misses the array {name}")
    array: npt.NDArray[Any] = arrays[name]
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, kind):
        numbers = "whole" if kind is np.integer else "real"
        raise UserError(
            f"{path}: the array {name} has shape {array.shape} and type {array.dtype}; it must be one row of "
            f"{numbers} numbers"
        )
    if length is not None and len(array) != length:
        raise UserError(f"{path}: the array {name} has {len(array)} values for {length} labels")
    return array
