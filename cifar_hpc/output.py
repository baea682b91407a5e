"""Writes what commands leave behind, whole or not at all, and shows text from files without control characters."""

import json
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from cifar_hpc.errors import UserError


def write_file(path: Path, content: str | bytes | memoryview, what: str = "") -> None:
    """Writes a file beside its place and moves it there: a reader sees the old one or the new one, never half of it.

    What is no regular file, such as /dev/stdout or a pipe, is written to as it is. Where this fails, even for want of
    space, what was there before is intact.

    Args:
        path: the file; what a link points to is replaced, and not the link.
        content: of the file; text is written as UTF-8.
        what: names it in the message, such as the flag that it was given with.

    Raises:
        UserError: if it cannot be written.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        place = Path(os.path.realpath(path))
        before = place.stat() if place.exists() else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            place.write_bytes(data)
            return
        if before is not None and not os.access(place, os.W_OK):
            raise PermissionError(0, "it is write-protected")
        # Of its own for each process, so that two that write the same file do not write into each other's.
        part = place.with_name(f".{place.name[:200]}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                if before is not None:
                    part.chmod(stat.S_IMODE(before.st_mode))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # some file systems find out only now that there is no space
            os.replace(part, place)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise UserError(f"{what} {path} cannot be written: {error.strerror}".strip()) from error


def remove_parts(folder: Path) -> None:
    """Removes what processes that were killed while they wrote left in a folder that is now this process's alone."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            part.unlink()


def write_json_output(content: Any, file: str) -> None:
    """Writes JSON to a file, or to standard output when `file` is `-`.

    Raises:
        UserError: if the file cannot be written.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        write_file(Path(file), text, "--json")


def printable(text: str) -> str:
    """Text from anywhere as it may go to a terminal or into XML: control characters are spelled out.

    A file's text could otherwise move the cursor, ring the bell, or turn the direction in which a line is read.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def tell(text: str, to: TextIO | None = None) -> None:
    """Prints lines that hold text from files.

    Args:
        text: the lines.
        to: where to; standard output if not given.
    """
    print(printable(text), file=to or sys.stdout, flush=True)
