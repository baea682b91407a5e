"""Unpacks archives from anywhere: nothing in them lands elsewhere, and none takes more than CIFAR could need.

An archive of a few kilobytes can unfold to any size, in its files, its names or its headers, and its directory can
promise sizes that it does not have. What a member declares is added up before it is unpacked, and no more than that is
read of it.
"""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import time
import zipfile
from pathlib import Path
from typing import IO, Any

from cifar_hpc.errors import UserError, machine_refuses, one_line

LARGEST_UNPACKED = 512 << 20
"""Bytes; the largest official archive unpacks to 185 million, 60,000 uncompressed images to as many."""
MOST_MEMBERS = 200_000
"""60,000 images, their folders, and for each what macOS adds."""
_LONGEST_NAME, _DEEPEST = 1024, 16  # characters, and folders in folders
_LARGEST_DIRECTORY = 32 << 20  # of a zip file: 160 bytes a member
_LARGEST_HEADER = 64 << 10  # of a tar file's member: long names, attributes
_MOST_PACKING = 1.1  # bytes of a packed file for one of what is packed, of which no packing makes much more
_PACKED_AHEAD = 4 << 20  # bytes of a packed file that are read before anything comes out
_HEADER_SECONDS = 15  # of the processor, for all headers of a tar file; those of 60,000 images take 3

_PACKED = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""How a tar file may be packed, by its first two bytes."""


def unpack(path: Path, target: Path) -> None:
    """Unpacks a tar or zip file.

    Args:
        path: the archive.
        target: the folder, which is made.

    Raises:
        UserError: if it is no such file, is damaged, wants to write elsewhere, or holds more than CIFAR.
        OSError: if the machine refuses to write.
    """
    try:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, target)
        else:
            _unpack_tar(path, target)
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        if machine_refuses(error):
            raise
        raise UserError(f"{path} cannot be unpacked: {one_line(error)}") from error


def _unpack_zip(path: Path, target: Path) -> None:
    with path.open("rb") as file:
        end: Any = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # before the directory is read, all at once
    if end is None or end[5] > _LARGEST_DIRECTORY:
        raise UserError(f"{path} has a directory that is far larger than CIFAR's")
    with zipfile.ZipFile(path) as zipped:
        members = zipped.infolist()
        _check(path, len(members), sum(member.file_size for member in members), *(m.filename for m in members))
        if any(member.flag_bits & 1 for member in members):
            raise UserError(f"{path} is encrypted; give an archive that is not")
        for member in members:
            place = _place(path, member.filename, target, member.is_dir())
            if not member.is_dir():
                with zipped.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)


def _unpack_tar(path: Path, target: Path) -> None:
    with path.open("rb") as raw:
        start = raw.read(2)
        raw.seek(0)
        packed = _Packed(raw)
        opened: IO[bytes] = _PACKED[start](packed) if start in _PACKED else raw  # type: ignore[operator]
        source = _Bounded(opened, packed)
        source.allowed = _LARGEST_HEADER
        try:
            tarred = tarfile.TarFile(fileobj=source)  # type: ignore[arg-type]
        except tarfile.ReadError as error:
            if start in _PACKED:
                raise
            raise UserError(f"{path} is neither a tar nor a zip file") from error
        members, size = 0, 0
        while True:
            source.allowed = _LARGEST_HEADER
            began = time.thread_time()
            member = tarred.next()
            source.seconds += time.thread_time() - began
            if member is None:
                return
            tarred.members.clear()  # type: ignore[attr-defined]  # or they would be kept, with all that their headers hold
            members, size = members + 1, size + member.size
            _check(path, members, size, member.name)
            if not (member.isfile() or member.isdir()):
                # Python's own filter can be led astray by links, in releases before 3.11.13.
                raise UserError(
                    f"{path} holds {member.name[:200]}, a link or device; CIFAR's are files and folders alone"
                )
            if member.issparse():
                raise UserError(f"{path} holds the sparse file {member.name[:200]}, and CIFAR none")
            if source.seconds > _HEADER_SECONDS:
                raise UserError(f"{path} has headers that take far longer to read than CIFAR's")
            source.allowed = member.size + _LARGEST_HEADER
            place = _place(path, member.name, target, member.isdir())
            if (content := tarred.extractfile(member)) is not None:
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file)


class _Packed(io.RawIOBase):
    """A packed file of which no more is read than can make up what is wanted of it: packings may have empty parts."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.wanted = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = 0) -> int:
        return self.file.seek(position, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        if self.tell() > _MOST_PACKING * self.wanted + _PACKED_AHEAD:
            raise tarfile.ReadError("it is packed in far more bytes than what is in it needs")
        return self.file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]


class _Bounded:
    """A file of which only so much may be read, and nothing beyond what CIFAR could need."""

    def __init__(self, file: IO[bytes], packed: _Packed) -> None:
        self.file = file
        self.packed = packed
        self.allowed = 0
        self.seconds = 0.0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.allowed:
            raise tarfile.ReadError("a header in it is far larger than CIFAR's")
        self.allowed -= size
        self.packed.wanted = self.tell() + size
        return self.file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0 or position > 2 * LARGEST_UNPACKED:  # going there means to unpack all before it
            raise tarfile.ReadError("it is far larger than CIFAR")
        self.packed.wanted = position
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _place(path: Path, name: str, target: Path, is_folder: bool) -> Path:
    """Makes the folders that a member lies in; tarfile and zipfile do it too, and look up each of them every time.

    Raises:
        UserError: if the member would lie elsewhere.
    """
    parts = name.strip("/").split("/")
    if ".." in parts or "\\" in name:
        raise UserError(f"{path} holds {name[:200]}, which would lie outside of the folder that it is unpacked to")
    place = target.joinpath(*parts)
    folder = place if is_folder else place.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
    return place


def _check(path: Path, members: int, size: int, *names: str) -> None:
    if size > LARGEST_UNPACKED:
        raise UserError(f"{path} would unpack to {size >> 20} MiB, far more than CIFAR; it is left alone")
    if members > MOST_MEMBERS:
        raise UserError(f"{path} holds more than {MOST_MEMBERS:,} files, far more than CIFAR; it is left alone")
    if long := next((name for name in names if len(name) > _LONGEST_NAME or name.count("/") > _DEEPEST), None):
        raise UserError(
            f"{path} holds a name of {len(long):,} characters and {long.count('/')} folders, unlike CIFAR's"
        )
