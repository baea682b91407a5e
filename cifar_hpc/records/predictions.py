"""Reads back `predictions.npz`: what the network said of every test image."""

import io
import math
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.errors import UserError

FILE_NAME = "predictions.npz"
_KEPT = re.compile(r"(best_test|best_holdout|tta|epoch[1-9]\d*)_class")
"""Whose answers may be kept besides those of the last epoch, which have plain names: of the best epochs, of the last
epoch with test-time augmentation, and of epochs for which a report prints a number."""

_KINDS = {"class": np.integer, "confidence": np.floating, "loss": np.floating, "rank": np.integer}

MOST_BYTES = 2**28
"""Largest size of a file, packed and unpacked: two thousand epochs' answers to ten thousand images take less."""
_MOST_ARRAYS = 10_000
_MAGIC = np.lib.format.magic(1, 0)
_MOST_CLASSES = 256


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
        UserError: if it is missing, damaged, misses an array, or an array has the wrong type, length or values.
    """
    arrays = _read_arrays(path)
    labels = _array(arrays, "label", np.integer, None, path).astype(np.uint8)
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


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads the arrays of an npz, after a look whether its size is no more than that of a test set's answers."""
    if not path.exists():
        raise UserError(f"{path} is missing; it holds the predictions from which the metrics follow")
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError("it is no file of at most 256 MiB")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if (unpacked := sum(info.file_size for info in infos)) > MOST_BYTES or len(infos) > _MOST_ARRAYS:
                raise ValueError(f"{len(infos)} arrays of {unpacked:,} bytes are more than any test set's answers")
            return {info.filename.removesuffix(".npy"): _read_array(archive, info) for info in infos}
    except Exception as error:  # what is damaged, or somebody else's, can raise nearly anything
        raise UserError(f"{path} is damaged and cannot be read: {one_sentence(str(error) or repr(error))}") from error


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # whose readers cannot be bounded
        raise ValueError(f"{info.filename} is packed in a way that NumPy does not")
    with archive.open(info) as member:
        if member.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{info.filename} is no array as NumPy writes it")
        size = info.file_size - len(_MAGIC)
        content = member.read(size)  # no more than that, however much it unpacks to
    start = 2 + int.from_bytes(content[:2], "little")
    shape, kind = _read_header(content[:start])
    if kind.kind not in "iuf" or math.prod(shape) * kind.itemsize != size - start or len(content) != size:
        raise ValueError(f"{info.filename} does not hold what its header says")
    return np.frombuffer(content, kind, offset=start).reshape(shape)


@lru_cache(maxsize=64)
def _read_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Reads shape and type from an array's header: few differ, and reading one takes longer than the array."""
    shape, _, kind = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    return shape, kind


def _array(arrays: dict[str, Any], name: str, kind: type, length: int | None, path: Path) -> npt.NDArray[Any]:
    if name not in arrays:
        raise UserError(f"{path} misses the array {name}")
    array: npt.NDArray[Any] = arrays[name]
    whole = kind is np.integer
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, kind):
        raise UserError(
            f"{path}: the array {name} has shape {array.shape} and type {array.dtype}; it must be one row of "
            f"{'whole' if whole else 'real'} numbers"
        )
    if length is not None and len(array) != length:
        raise UserError(f"{path}: the array {name} has {len(array)} values for {length} labels")
    if whole and not (int(array.min()) >= 0 and int(array.max()) < _MOST_CLASSES):
        raise UserError(f"{path}: the array {name} has values from {array.min()} to {array.max()}, which no class has")
    with np.errstate(all="ignore"):  # a network that diverged answers with what is no number
        return array.astype(np.uint8 if whole else np.float32, copy=False)
