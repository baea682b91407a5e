"""Reads the official Python files, which are pickles, without letting them run anything."""

import io
import pickle
from pathlib import Path
from typing import Any

from cifar_hpc.errors import UserError

# The official files hold dicts, lists, byte strings and NumPy arrays; these are what arrays are made of.
# numpy.core is where the files' NumPy kept them, numpy._core is where today's does.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("_codecs", "encode"): ("_codecs", "encode"),
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(*_ALLOWED[module, name])


def read_pickle(path: Path) -> dict[bytes, Any]:
    """Reads one official Python file.

    Raises:
        UserError: if the file is truncated, is no pickle of a dict, or asks for anything but arrays.
    """
    try:
        content = _RestrictedUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{path} is not an official CIFAR file: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not an official CIFAR file: it holds a {type(content).__name__}, not a dict")
    return content
