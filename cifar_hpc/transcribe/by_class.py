"""Reads tables with a line for each class and lines of averages, as scikit-learn's `classification_report` prints."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from cifar_hpc.errors import UserError
from cifar_hpc.transcribe.found import FoundRow
from cifar_hpc.transcribe.printed import PrintedNumber, UnreadableError, clean, read_cell
from cifar_hpc.transcribe.tables import Line, Table

_AVERAGES = {"macro avg": "macro", "weighted avg": "weighted", "micro avg": "micro", "avg / total": "weighted"}
"""Lines behind the classes, the first that there is being the row's, and what they average over."""
_NO_CLASS = {*_AVERAGES, "accuracy", "samples avg"}
_HEAD = re.compile(r"\s*precision\s+recall\s+f1-score\s+support\s*")
_SHARE = r"[0-9]+(?:\.[0-9]+)?|nan"
_LINE = re.compile(rf"\s*(\S.*?)\s+(?:({_SHARE})\s+({_SHARE})\s+)?({_SHARE})\s+([0-9]+)\s*")


def without_reports(text: str) -> str:
    """Empties the lines in which `classification_report` printed something; returns a text without such as it is."""
    lines, within = text.splitlines(keepends=True), False
    for at, line in enumerate(lines):
        within = _HEAD.fullmatch(line) is not None or (within and (not line.strip() or bool(_LINE.fullmatch(line))))
        lines[at] = "\n" if within else line
    return "".join(lines)


def read_report(path: Path, text: str, number: int | None) -> Table:
    """Reads what `classification_report` prints, whatever stands around it.

    Args:
        path: path of the file, for messages.
        text: text of the file.
        number: which of several reports, from 1.

    Raises:
        UserError: if there is none, or several and none is named.
    """
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines, 1) if _HEAD.fullmatch(line)]
    if not 1 <= (number or 1) <= len(heads) or (number is None and len(heads) > 1):
        raise UserError(f"{path} holds {len(heads)} classification reports; name one with --table, from 1")
    found: list[Line] = []
    for at, line in enumerate(lines[heads[(number or 1) - 1] :], heads[(number or 1) - 1] + 1):
        if cells := _LINE.fullmatch(line):
            found.append(Line(f"line {at}", tuple(cell or "" for cell in cells.groups()), line.strip()))
        elif line.strip():
            break
    return Table(("class", "precision", "recall", "f1-score", "support"), tuple(found), fractions=True)


def line_of_averages(table: Table) -> int | None:
    """Finds the line that is the row's; null where the table is not by class."""
    names = [_name(line) for line in table.lines]
    return next((names.index(name) for name in _AVERAGES if name in names), None)


def row_of(
    table: Table, keys: Sequence[str | None], cells: Mapping[tuple[int, int], PrintedNumber]
) -> tuple[FoundRow, list[str]]:
    """Makes the row of a table by class, of which only accuracy, averages and images are a row's; with notes."""
    at = line_of_averages(table)
    assert at is not None
    line = table.lines[at]
    row = FoundRow(1, "", line.place, line.text, averages=_AVERAGES[_name(line)])
    columns = {
        key: i for i, key in enumerate(keys) if key in ("precision_percent", "recall_percent", "f1_percent")
    }  # fmt: skip
    row.reported = {key: cells[at, i].digits for key, i in columns.items() if (at, i) in cells}
    for number, other in enumerate(table.lines):
        shown = [cells[number, i].digits for i in columns.values() if (number, i) in cells]
        if _name(other) == "accuracy" and shown:
            row.reported = {"test_accuracy_percent": shown[-1], **row.reported}
            row.text = f"{other.text}\n{row.text}"
    row.test_set, told = _test_set(table, line)
    taken = f"taken is {clean(line.cells[0])}; the lines of single classes and other averages are no rows"
    return row, [taken, *told]


def _test_set(table: Table, averages: Line) -> tuple[dict[str, Any] | None, list[str]]:
    """Reads the images of each class, as the column `support` counts them; with notes."""
    column = next((i for i, name in enumerate(table.columns) if name.lower() == "support"), None)
    if column is None:
        return None, []
    sizes = [_count(line.cells[column]) for line in table.lines if _name(line) not in _NO_CLASS]
    images = _count(averages.cells[column])
    if len(sizes) < 2 or not images or 0 in sizes or sum(sizes) != images:
        return None, [f"support is {images} in all and {sum(sizes)} in {len(sizes)} classes, so no test set is taken"]
    each: int | list[int] = sizes[0] if len(set(sizes)) == 1 else sizes
    return {"images": images, "classes": len(sizes), "class_images": each}, []


def _name(line: Line) -> str:
    return clean(line.cells[0]).lower()


def _count(cell: str) -> int:
    """Reads a whole number, which pandas prints as 1000.0; 0 for anything else."""
    try:
        found = read_cell(cell)
    except UnreadableError:
        return 0
    value = Decimal(found.digits) if found else Decimal(0)
    return int(value) if value == int(value) else 0
