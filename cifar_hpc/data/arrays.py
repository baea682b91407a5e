"""The canonical copy of a dataset: four memory-mapped uint8 arrays that every run on the machine shares.

`<root>/<dataset>/` holds `train_images.npy`, `train_labels.npy`, `test_images.npy`, `test_labels.npy` and
`manifest.json`. Images are stored height × width × channel, so that a batch taken from them is in torch's
channels_last order without a copy. Only content that matches the official checksum is ever written there, each file
beside its place and moved in: an import over a sound copy changes no byte of it, whenever it is killed, and no reader
meets half a file.
"""

import hashlib
import io
import json
import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from cifar_hpc.data.datasets import DATASETS, IMAGE_SHAPE, Dataset
from cifar_hpc.errors import UserError, one_line
from cifar_hpc.output import remove_parts, write_file

UInt8Array = npt.NDArray[np.uint8]
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class CIFARArrays:
    """One dataset in memory (or mapped into it).

    Attributes:
        dataset: facts of the dataset.
        train_images: training images, shape (N, 32, 32, 3).
        train_labels: training labels, shape (N,); fine labels for CIFAR-100.
        test_images: test images, shape (M, 32, 32, 3).
        test_labels: test labels, shape (M,).
    """

    dataset: Dataset
    train_images: UInt8Array
    train_labels: UInt8Array
    test_images: UInt8Array
    test_labels: UInt8Array

    def sha256(self) -> str:
        """Computes a digest of pixels and labels; takes about 0.1 s for a whole dataset."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name)).data)
        return digest.hexdigest()


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Chooses the folder where datasets live: `root`, else CIFAR_HPC_DATA, else the user's cache folder."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get("CIFAR_HPC_DATA"):
        return Path(os.environ["CIFAR_HPC_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "cifar_hpc"


def check_content(arrays: CIFARArrays, origin: str) -> None:
    """Raises UserError unless `arrays` is the official dataset, image for image.

    Args:
        arrays: what was read.
        origin: where it was read, for the message.
    """
    dataset = arrays.dataset
    expected = {
        "train_images": (dataset.train_images, *IMAGE_SHAPE),
        "train_labels": (dataset.train_images,),
        "test_images": (dataset.test_images, *IMAGE_SHAPE),
        "test_labels": (dataset.test_images,),
    }
    for name, shape in expected.items():
        array = getattr(arrays, name)
        if array.shape != shape or array.dtype != np.uint8:
            raise UserError(
                f"{origin}: {name} has shape {array.shape} and type {array.dtype}, but {dataset.name} "
                f"needs {shape} and uint8"
            )
    digest = arrays.sha256()
    if digest != dataset.sha256:
        raise UserError(
            f"{origin}: the images are not those of the official {dataset.name} (SHA-256 {digest[:12]}… "
            f"instead of {dataset.sha256[:12]}…); get an undamaged copy"
        )


def is_stored(name: str, root: str | os.PathLike[str] | None = None) -> bool:
    """Checks whether a canonical copy of the dataset lies under the root (its content is not read)."""
    return (data_root(root) / name / "manifest.json").is_file()


def store(arrays: CIFARArrays, root: str | os.PathLike[str] | None, origin: str) -> Path:
    """Checks the content and writes the canonical copy; a sound one that is there stays one at every moment.

    Args:
        arrays: the dataset.
        root: see `data_root`.
        origin: where the bytes came from; kept in the manifest.

    Returns:
        The folder of the canonical copy.

    Raises:
        UserError: if the content is not the official one or the root cannot be written.
    """
    check_content(arrays, origin)
    base = data_root(root)
    final = base / arrays.dataset.name
    manifest = {"dataset": arrays.dataset.name, "sha256": arrays.dataset.sha256, "origin": origin}
    new = not final.exists()
    try:
        final.mkdir(parents=True, exist_ok=True)
        remove_parts(final)
        # One by one: the content is the official one, so that a mixture of an old sound copy and this is sound too.
        for name in _ARRAYS:
            content = io.BytesIO()
            np.save(content, getattr(arrays, name))
            write_file(final / f"{name}.npy", content.getvalue(), "The dataset's")
        write_file(final / "manifest.json", json.dumps(manifest, indent=2) + "\n", "The dataset's")
    except BaseException as error:
        if new:
            shutil.rmtree(final, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{final}, where {arrays.dataset.name} is kept, cannot be written: {error.strerror}"
            ) from error
        raise
    return final


def lock(name: str, root: str | os.PathLike[str] | None = None) -> FileLock:
    """Makes a lock that two processes fetching the same dataset share.

    Raises:
        UserError: if the root cannot be written.
    """
    base = data_root(root)
    try:
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=base):
            pass
    except OSError as error:
        raise UserError(
            f"The data root {base} cannot be written ({error.strerror}); name another with --root or CIFAR_HPC_DATA"
        ) from error
    return FileLock(base / f".{name}.lock")


def fetch_command(name: str, root: str | os.PathLike[str] | None = None) -> str:
    """Writes the command that brings a dataset to a root."""
    return f"python -m cifar_hpc data fetch --dataset {name}" + (
        "" if root is None else f" --root {shlex.quote(str(root))}"
    )


def load(name: str, root: str | os.PathLike[str] | None = None, check: bool = True) -> CIFARArrays:
    """Maps the canonical copy into memory.

    Args:
        name: `cifar10` or `cifar100`.
        root: see `data_root`.
        check: whether to compare the content with the official checksum (0.1 s).

    Raises:
        UserError: if the dataset is missing or damaged.
    """
    folder = data_root(root) / name
    command = fetch_command(name, root)
    if not is_stored(name, root):
        raise UserError(f"There is no {name} under {folder.parent}; run `{command}` first")
    try:
        mapped = {part: _map(folder / f"{part}.npy") for part in _ARRAYS}
    except Exception as error:  # what is no array's file can raise nearly anything
        raise UserError(f"{folder} is damaged ({one_line(error)}); run `{command}` again") from error
    arrays = CIFARArrays(DATASETS[name], **mapped)
    if check:
        try:
            check_content(arrays, str(folder))
        except UserError as error:
            raise UserError(f"{error}, with `{command}`") from error
    return arrays


def _map(file: Path) -> UInt8Array:
    """Maps one array's file; copy-on-write keeps pages shared between processes, yet lets torch take it as its own."""
    if not file.is_file():
        raise UserError(f"{file.name} is missing")
    # Not np.load, which takes archives and pickles under this name too.
    mapped: UInt8Array = np.lib.format.open_memmap(file, mode="c")
    return mapped
