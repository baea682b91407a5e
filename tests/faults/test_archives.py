"""Hostile bytes for `data`: each is refused in one sentence, in bounded time and memory, and runs nothing."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_hpc.data import arrays
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.sample import load_sample
from tests.conftest import Command
from tests.data.test_sources import write_binary, write_python
from tests.faults import numbers
from tests.faults.conftest import Faulty

MARK = "ran.mark"
"""What code in a pickle would leave in the folder that the command runs in."""

PYTHON = "cifar-10-batches-py"
SHEETS = [*(f"data_batch_{i}.png" for i in range(1, 6)), "test_batch.png"]


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARK}",)


def tar_of(folder: Path, target: Path, packing: str) -> Path:
    with tarfile.open(target, f"w:{packing}") as tarred:  # type: ignore[call-overload]
        tarred.add(folder, "cifar")
    return target


def zip_of(members: dict[str, bytes], target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return target


def official(folder: Path) -> Path:
    """The sample in the official layout: whole in itself, though not the official dataset."""
    write_python(load_sample("cifar10"), folder / PYTHON)
    return folder / PYTHON


def damage(file: Path, rng: random.Random) -> Path:
    """Cuts a file short, or changes some of its bytes."""
    content = bytearray(file.read_bytes())
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
    for _ in range(rng.choice((1, 3, 30))):
        if content:
            content[rng.choice((rng.randrange(len(content)), rng.randrange(min(600, len(content)))))] = rng.randrange(
                256
            )
    file.write_bytes(content)
    return file


def damaged_tar(folder: Path, rng: random.Random) -> Path:
    write_binary(load_sample("cifar10"), folder / "bin")
    packing = rng.choice(("", "gz", "bz2", "xz"))
    return damage(tar_of(folder / "bin", folder / "archive.tar", packing), rng)


def damaged_zip(folder: Path, rng: random.Random) -> Path:
    members = {f"cifar/{file.name}": file.read_bytes() for file in official(folder).iterdir()}
    return damage(zip_of(members, folder / "archive.zip"), rng)


def zip_of_an_unknown_version(folder: Path, rng: random.Random) -> Path:
    content = zip_of({"data_batch_1": b"x"}, folder / "archive.zip").read_bytes()
    at = content.index(b"PK\x01\x02") + 6
    (folder / "archive.zip").write_bytes(content[:at] + bytes([rng.randrange(70, 256), 0]) + content[at + 2 :])
    return folder / "archive.zip"


def zip_with_a_name_that_is_not_utf8(folder: Path, rng: random.Random) -> Path:
    content = bytearray(zip_of({"naïve": b"x"}, folder / "archive.zip").read_bytes())
    while (at := content.find("ï".encode())) >= 0:
        content[at : at + 2] = b"\xff\xfe"
    (folder / "archive.zip").write_bytes(content)
    return folder / "archive.zip"


def encrypted_zip(folder: Path, rng: random.Random) -> Path:
    content = bytearray(zip_of({"data_batch_1": b"x" * 100}, folder / "archive.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    (folder / "archive.zip").write_bytes(content)
    return folder / "archive.zip"


def zip_bomb(folder: Path, rng: random.Random) -> Path:
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for i in range(6):
            with zipped.open(f"data_batch_{i}", "w") as member:
                for _ in range(100):
                    member.write(bytes(1 << 20))
    return folder / "archive.zip"


def zip_with_an_endless_directory(folder: Path, rng: random.Random) -> Path:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(entry) * count, 0, 0)
    (folder / "archive.zip").write_bytes(entry * count + end)
    return folder / "archive.zip"


def tar_bomb(folder: Path, rng: random.Random) -> Path:
    """Three gibibytes of zeros in a few kilobytes."""
    member = tarfile.TarInfo("cifar/data_batch_1.bin")
    member.size = 3 << 30
    packed = {".gz": gzip.open, ".xz": lzma.open}
    suffix = rng.choice(tuple(packed))
    with packed[suffix](folder / f"archive.tar{suffix}", "wb") as file:  # type: ignore[operator]
        file.write(member.tobuf())
        for _ in range(256):
            file.write(bytes(1 << 20))
    return folder / f"archive.tar{suffix}"


def tar_with_a_huge_header(folder: Path, rng: random.Random) -> Path:
    """A name, or attributes, of 200 MiB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = rng.choice((tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE)), 200 << 20
    with gzip.open(folder / "archive.tar.gz", "wb", 1) as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(b"a" * (1 << 20))
    return folder / "archive.tar.gz"


def tar_with_a_garbage_pax_header(folder: Path, rng: random.Random) -> Path:
    garbage = rng.choice((b"nonsense", b"99999 size=1\n", b"13 size=abc\n", b"20 mtime=1e400xxxx\n", b"0 =\n"))
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, len(garbage)
    real = tarfile.TarInfo("cifar/data_batch_1")
    (folder / "archive.tar").write_bytes(
        member.tobuf(tarfile.USTAR_FORMAT) + garbage.ljust(512, b"\0") + real.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    )
    return folder / "archive.tar"


def tar_that_writes_elsewhere(folder: Path, rng: random.Random) -> Path:
    with tarfile.open(folder / "archive.tar", "w") as tarred:
        kind = rng.randrange(5)
        link = tarfile.TarInfo("cifar/link")
        if kind == 0:
            link.type, link.linkname = tarfile.SYMTYPE, str(folder)
            tarred.addfile(link)
            link = tarfile.TarInfo("cifar/link/escaped")
        elif kind == 1:
            link.type, link.linkname = tarfile.LNKTYPE, "../../../etc/passwd"
        elif kind == 2:
            link.type = tarfile.FIFOTYPE
        elif kind == 3:
            link.type, link.devmajor, link.devminor = tarfile.CHRTYPE, 1, 5
        else:
            link.name = rng.choice((f"{folder}/escaped", "../../escaped", "cifar/../../../escaped"))
        tarred.addfile(link)
    return folder / "archive.tar"


def tar_of_a_sparse_file(folder: Path, rng: random.Random) -> Path:
    member = tarfile.TarInfo("data_batch_1")
    member.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1,5,1", "GNU.sparse.numblocks": "2"}
    with tarfile.open(folder / "archive.tar", "w", format=tarfile.PAX_FORMAT) as tarred:
        tarred.addfile(member)
    return folder / "archive.tar"


def packed_nothing(folder: Path, rng: random.Random) -> Path:
    """Thirty megabytes of empty parts before, or within, a tar file."""
    packing: Any = rng.choice((gzip, bz2, lzma))
    empty = packing.compress(b"")
    start = packing.compress(tarfile.TarInfo("cifar/data_batch_1").tobuf()) if rng.random() < 0.5 else b""
    (folder / "archive").write_bytes(start + empty * (30_000_000 // len(empty)))
    return folder / "archive"


def odd_names(folder: Path, rng: random.Random) -> Path:
    name = rng.choice(("\x1b[31mred\x07", "\u202egnp.exe", "a" * 5_000, "/".join("d" * 900), "a\nb", "con\x00sole"))
    with tarfile.open(folder / "archive.tar", "w") as tarred:
        member = tarfile.TarInfo(f"cifar/{name}/data_batch_1")
        member.size = 10
        tarred.addfile(member, io.BytesIO(b"0123456789"))
    named = folder / "archive\x1b[31m\u202e.tar"
    return (folder / "archive.tar").rename(named)


def no_archive(folder: Path, rng: random.Random) -> Path:
    start = rng.choice((b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"ustar"))
    (folder / "archive").write_bytes(start + rng.randbytes(rng.choice((0, 10, 600, 5_000))))
    return folder / "archive"


def hostile_pickle(folder: Path, rng: random.Random) -> Path:
    """Code to run; elements and memory without end."""
    lists = b"]\x94" + b"".join(  # each holds the one before ten times: 10**9 elements in 200 bytes
        b"]\x94(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e" for level in range(9)
    )
    contents = (
        pickle.dumps(Runs()),
        pickle.dumps({b"data": Runs(), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": Runs()}, protocol=2),
        b"\x80\x04}\x94(C\x04dataK\x01C\x06labels" + lists + b"u.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftU\x01btR.",
        b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aU\x04idnatR.",
        b"\x80\x04cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        pickle.dumps({b"data": [[1] * 3072] * 10, b"labels": [1] * 10}),
        pickle.dumps({b"data": np.zeros((3, 3072), object), b"labels": [1]}, protocol=2),
        pickle.dumps({b"data": np.zeros((3, 4), np.uint8), b"labels": [[[1]]]}, protocol=2),
        pickle.dumps({b"data": np.zeros(3, np.float64), b"labels": None}, protocol=2),
        b"(" * 1_000_000 + b".",
        b"\x80\x02" + b"]" * 1_500_000 + b"a" * 1_499_999 + b".",
    )
    (official(folder) / "data_batch_1").write_bytes(rng.choice(contents))
    return folder / PYTHON


def png(width: int, height: int) -> bytes:
    """A PNG of any size in a few bytes, as all its pixels are missing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def hostile_sheets(folder: Path, rng: random.Random) -> Path:
    """Images of another size than they must have, or none; what waits for ever when it is opened."""
    sheets = folder / "sheets"
    sheets.mkdir()
    contents = (
        png(60_000, 60_000), png(7, 5), png(1024, 10_000), png(0, 0), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a", b"",
        bz2.compress(bytes(1 << 20)),
    )  # fmt: skip
    for name in SHEETS:
        (sheets / name).write_bytes(rng.choice(contents))
    if rng.random() < 0.3:
        (sheets / SHEETS[0]).unlink()
        os.mkfifo(sheets / SHEETS[0])
        (sheets / "data_batch_1.png.bak").touch()
    elif rng.random() < 0.3:
        (sheets / SHEETS[1]).unlink()
        (sheets / SHEETS[1]).symlink_to("/dev/zero")
    return sheets


def hostile_files(folder: Path, rng: random.Random) -> Path:
    """Official names over what they do not stand for."""
    write_binary(load_sample("cifar10"), folder / "bin")
    victim = folder / "bin" / "data_batch_1.bin"
    victim.unlink()
    kind = rng.randrange(4)
    if kind == 0:
        victim.symlink_to("/dev/zero")
    elif kind == 1:
        os.mkfifo(victim)
    elif kind == 2:
        with victim.open("wb") as file:
            file.truncate(3 << 30)
    else:
        victim.mkdir()
    return folder / "bin"


KINDS: tuple[Callable[[Path, random.Random], Path], ...] = (
    damaged_tar, damaged_zip, hostile_pickle, hostile_sheets, zip_of_an_unknown_version, no_archive,
    zip_with_a_name_that_is_not_utf8, encrypted_zip, zip_bomb, damaged_tar, zip_with_an_endless_directory, tar_bomb,
    hostile_pickle, tar_with_a_huge_header, tar_with_a_garbage_pax_header, tar_that_writes_elsewhere,
    tar_of_a_sparse_file, odd_names, hostile_files, damaged_zip, packed_nothing,
)  # fmt: skip


@pytest.mark.parametrize("number", numbers(126, sample=42))
def test_a_hostile_archive_is_refused(number: int, faulty: Faulty, tmp_path: Path) -> None:
    rng = random.Random(number)
    given = tmp_path / "given"
    given.mkdir()
    path = KINDS[number % len(KINDS)](given, rng)
    before = sorted(map(str, tmp_path.rglob("*")))
    ended = faulty("data", "import", path, "--dataset", "cifar10", "--root", tmp_path / "root").check()
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "unfinished" not in ended.err
    made = set(map(str, tmp_path.rglob("*"))) - set(before)
    ours = (str(tmp_path / "root"), str(tmp_path / ".out"), str(tmp_path / ".err"))
    assert all(name.startswith(ours) for name in made), made
    assert [file.name for file in (tmp_path / "root").iterdir()] in ([], [".cifar10.lock"])


LABELS: tuple[Any, ...] = (
    [[1, 2], [3]], None, 5, [[1] * 10] * 10, {"a": 1}, [1.5], ["1"], [10**30], [-1], [True], "[" * 100_000,
    "1" * 5_000, "NaN", "", "\ufeff[]", [1] * 400_000,
)  # fmt: skip


@pytest.mark.parametrize("number", numbers(len(LABELS), sample=6))
def test_labels_that_are_none_are_refused(number: int, tmp_path: Path) -> None:
    from cifar_hpc.data import layouts
    from cifar_hpc.data.datasets import CIFAR10
    from cifar_hpc.errors import UserError

    labels = LABELS[number]
    (tmp_path / "data_batch_1.png").write_bytes(png(7, 5))
    text = labels if isinstance(labels, str) else json.dumps(labels)
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"labels\.json"):
        layouts.read_labels(tmp_path / "labels.json")
    with pytest.raises(UserError, match="7 × 5 pixels, not 1024 × 10000"):
        layouts.read_folder(tmp_path, CIFAR10)


def whole_zip(content: CIFARArrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, content.train_images)
    return buffer.getvalue()


def with_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


STORED: dict[str, Callable[[], bytes | None]] = {
    "empty": lambda: b"",
    "zip": lambda: whole_zip(load_sample("cifar10")),
    "pickle": lambda: pickle.dumps(Runs()),
    "huge": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000,), }"),
    "negative": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }"),
    "objects": lambda: with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
    "code": lambda: with_header("__import__('os').system('touch ran.mark')"),
    "no header": lambda: b"\x93NUMPY\x01\x00",
    "missing": lambda: None,
}


@pytest.mark.parametrize("kind", STORED)
def test_a_damaged_store_is_told(kind: str, faulty: Faulty, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "cifar10"
    folder.mkdir(parents=True)
    content = STORED[kind]()
    for name in arrays._ARRAYS:
        if content is not None:
            (folder / f"{name}.npy").write_bytes(content)
    (folder / "manifest.json").write_text("{")
    (tmp_path / "root" / ".cifar10-mybackup").mkdir()
    (tmp_path / "root" / ".cifar10-mybackup" / "mine").touch()
    offline = {"https_proxy": "http://127.0.0.1:9", "PATH": str(tmp_path)}
    for action in ("verify", "info", "fetch"):
        flags = ("--dataset", "cifar10", "--root", tmp_path / "root")
        ended = faulty("data", action, *flags, environment=offline).check()
        assert ended.status == 2
        assert "is damaged" in ended.err
        assert len(ended.err.splitlines()) == 1, ended.err
    assert not (tmp_path / MARK).exists()
    assert (tmp_path / "root" / ".cifar10-mybackup" / "mine").exists()


@pytest.mark.data
@pytest.mark.usefixtures("cifar10")
def test_the_advised_repair_works(faulty: Faulty, tmp_path: Path, cifar10: CIFARArrays) -> None:
    write_binary(cifar10, tmp_path / "root" / "cifar-10-batches-bin")
    folder = tmp_path / "root" / "cifar10"
    shutil.copytree(arrays.data_root() / "cifar10", folder)
    (folder / "train_images.npy").write_bytes(b"")
    (folder / "mine.txt").touch()
    flags = ("--dataset", "cifar10", "--root", tmp_path / "root")
    assert faulty("data", "verify", *flags).check().status == 2
    assert faulty("data", "fetch", *flags).check().status == 0
    assert faulty("data", "verify", *flags).check().status == 0
    assert (folder / "mine.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_with_a_link_or_device_is_refused(kind: bytes, command: Command, tmp_path: Path) -> None:
    """Wherever it points: links within an archive have led Python's own filter astray."""
    with tarfile.open(tmp_path / "archive.tar", "w") as tarred:
        member = tarfile.TarInfo("cifar/inside")
        member.type, member.linkname = kind, "data_batch_1"
        tarred.addfile(member)
    done = command("data", "import", "--dataset", "cifar10", "--root", tmp_path / "root", tmp_path / "archive.tar")
    assert "holds cifar/inside, a link or device" in done.sentence()
