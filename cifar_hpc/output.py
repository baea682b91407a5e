"""Writes what commands leave behind, whole or not at all; lays out lines and tables, without control characters."""

import json
import os
import re
import stat
import sys
from collections.abc import Sequence
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
        content: content of the file; text is written as UTF-8.
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
    for part in filter(is_part, folder.glob(".*")):
        with suppress(OSError):
            part.unlink()


def is_part(path: Path) -> bool:
    """Checks whether a file has the name under which `write_file` writes before it moves the file into place."""
    return path.name.startswith(".") and path.suffix == ".part"


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


def counted(count: int, noun: str) -> str:
    """Writes a number and what it counts, in the plural unless it is one."""
    return f"{count} {noun}{'s' * (count != 1)}"


def printable(text: str) -> str:
    """Makes text from anywhere fit for a terminal or XML: control characters are spelled out.

    A file's text could otherwise move the cursor, ring the bell, or turn the direction in which a line is read.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def terminal_width(to: TextIO | None = None) -> int | None:
    """Counts the columns of the terminal that a stream writes to; null where it writes to none, or to one of no size.

    mpirun's is of no size: what it shows goes on to whatever mpirun itself writes to.

    Args:
        to: the stream; standard output if not given.
    """
    to = to or sys.stdout  # which a shell can close
    if to is None or not to.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(to.fileno()).columns or None
    except (OSError, ValueError):
        return None


_WHOLE = re.compile(r"(?:`[^`]*`\S*|(?:python -m cifar_hpc|\S*tensorboard --logdir|sbatch) .*|\S+) *")
"""What is not broken over lines: a word, and a command that somebody may copy."""


def wrapped(line: str, columns: int) -> list[str]:
    """Breaks a line into several of a terminal's, with those behind the first set in, under the text behind a label.

    Args:
        line: a sentence, or a row of a table.
        columns: columns of the terminal. Only what is not to be broken is longer.
    """
    indent, label = re.match(r"( *)(\S+  +)?", line).groups("")  # type: ignore[union-attr]
    hanging = len(indent + label) if label and len(indent + label) <= columns // 2 else len(indent) + 4
    lines = [indent]
    for part in _WHOLE.findall(line):
        if len(lines[-1] + part.rstrip()) > columns and lines[-1].strip():
            lines.append(" " * hanging)
        lines[-1] += part
    return [each.rstrip() for each in lines]


def tell(text: str, to: TextIO | None = None) -> None:
    """Prints lines that hold text from files: wrapped on a terminal, elsewhere as they are, for grep and the like.

    Args:
        text: the lines.
        to: where to; standard output if not given.
    """
    text, columns = printable(text), terminal_width(to)
    if columns:
        text = "\n".join(part for line in text.split("\n") for part in wrapped(line, columns))
    print(text, file=to or sys.stdout, flush=True)


_COLOURS = {"reproduced": "green", "plausible": "green", "above": "red", "below": "red", "not yet run": "dim"}
"""Colours of cells that hold these words."""


def tell_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: in colours on a terminal where rich is installed, else as plain text with the same words.

    Args:
        head: names of the columns.
        rows: their cells.
    """
    lines = [[printable(cell) for cell in cells] for cells in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = terminal_width()
    if columns is not None and sum(widths) + 2 * len(widths) - 2 <= columns:
        with suppress(ImportError):
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text

            table = Table(*head, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
            for cells in lines[1:]:
                styles = (next((style for word, style in _COLOURS.items() if word in cell), "") for cell in cells)
                table.add_row(*map(Text, cells, styles))
            Console(width=columns, file=sys.stdout).print(table)
            return
    for cells in lines:
        tell("  ".join(map(str.ljust, cells, widths)).rstrip())
