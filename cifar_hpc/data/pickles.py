"""Reads the official Python files, which are pickles, without letting them run or build anything but plain data."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_hpc.errors import UserError, one_line

LARGEST_FILE = 400 << 20
"""Bytes; the largest official file, CIFAR-100's train, has 155 million, and copies of it up to twice as many."""
_MOST_OPERATIONS = 2_000_000
"""Most operations of a pickle; the largest official file, CIFAR-100's train, takes some 400,000, most for names."""

# What the official files, and copies made with today's NumPy, are written in: nothing that repeats what is there.
_OPERATIONS = {
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1",
    "BININT2", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST",
    "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
}  # fmt: skip


class Array:
    """Stands for a NumPy array: NumPy itself gets nothing to build from a file."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def values(self) -> npt.NDArray[np.uint8]:
        """Makes the array, which must be of unsigned bytes.

        Raises:
            ValueError: if it is not, or if its shape and content do not agree.
        """
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise ValueError("an array in it has no content")
        _, shape, kind, column_major, content = self.state
        if not (isinstance(kind, _Type) and kind.name in ("u1", b"u1", "uint8", b"uint8", "|u1", b"|u1")):
            raise ValueError("an array in it is not of unsigned bytes")
        if not (isinstance(content, bytes) and isinstance(shape, tuple) and all(type(size) is int for size in shape)):
            raise ValueError("an array in it has no content")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if column_major else "C")


class _Type:
    """Stands for the type of an array's elements."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Keeps nothing: the order of bytes, which is all that a number's type could tell here, a byte has not."""


# The official files hold dicts, lists, byte strings and NumPy arrays; these are what arrays are made of.
# numpy.core is where the files' NumPy kept them, numpy._core is where today's does.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _Type,
}


class _RestrictedUnpickler(pickle.Unpickler):
    encoded = 0

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """Encodes a text, as which Python 3 writes bytes in the older protocols."""
        if not (isinstance(text, str) and encoding in ("latin1", b"latin1")):
            raise pickle.UnpicklingError("it asks for an encoding other than latin1")
        self.encoded += len(text)
        if self.encoded > LARGEST_FILE:  # the same text again and again
            raise pickle.UnpicklingError("it unfolds to more than any file of CIFAR")
        return text.encode("latin1")


def read_pickle(path: Path, most_bytes: int = LARGEST_FILE) -> dict[bytes, Any]:
    """Reads one official Python file, in which arrays are left as `Array`.

    Args:
        path: the file.
        most_bytes: size that it may have, in bytes.

    Raises:
        UserError: if the file is too large or truncated, is no pickle of a dict, or asks for anything but arrays.
    """
    check_size(path, most_bytes)
    try:
        data = path.read_bytes()
        # Each operation makes one element at most, so that their number bounds time and memory.
        for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if operation.name not in _OPERATIONS:
                raise pickle.UnpicklingError(f"it uses the pickle operation {operation.name}")
            if number > _MOST_OPERATIONS:
                raise pickle.UnpicklingError(f"it has more than {_MOST_OPERATIONS} pickle operations")
            if operation.name.endswith("PUT") and (argument or 0) > number:  # the table would be made as large as that
                raise pickle.UnpicklingError("it keeps something under a number far beyond what it holds")
        content = _RestrictedUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{path} is not an official CIFAR file: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not an official CIFAR file: it holds a {type(content).__name__}, not a dict")
    return content


def check_size(path: Path, most_bytes: int) -> None:
    """Refuses what is no regular file, and what is larger than anything that belongs to the dataset.

    Raises:
        UserError: naming the file, its size and what is the most.
    """
    if not path.is_file():  # a pipe or device could go on for ever
        raise UserError(f"{path} is {'no regular file' if path.exists() else 'missing'}")
    if (size := path.stat().st_size) > most_bytes:
        raise UserError(f"{path} has {size:,} bytes; the most that such a file of CIFAR has is {most_bytes:,}")
