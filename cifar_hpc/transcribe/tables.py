"""Reads CSV, TSV, Markdown and LaTeX tables into lines of cells."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cifar_hpc.errors import UserError
from cifar_hpc.transcribe.found import listed
from cifar_hpc.transcribe.printed import UNITS, clean, is_blank, is_numeric
from cifar_hpc.transcribe.quantities import meaning

_DELIMITERS = {"tsv": "\t", "csv": ";,|"}
_SEPARATOR = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_RULE = re.compile(r"\s*[|+]?(?:\s*[-=]{2,}\s*[|+]?)+\s*")
"""A line that is drawn between others."""

_LATEX_ROW = re.compile(r"^.*(?<!\\)&.*\\\\(?:\[[^\]]*\])?\s*(?:\\[a-z]+\S*\s*)*$", re.M)
_LATEX_RULE = re.compile(
    r"~?\\(?:(?:top|mid|bottom)rule|hline|addlinespace)\b|\\c(?:midrule|line)(?:\([lr]+\))?\{[^{}]*\}|~?\\cite\w*\{[^{}]*\}"
)
"""Lines that are drawn, and citations."""
_LATEX_SPAN = re.compile(r"\\multicolumn\s*\{(\d+)\}\s*\{[^{}]*\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        place: where it stands in the file, as messages name it.
        cells: one for each column.
        text: the line as printed.
        group: what the line above it says that heads a group of lines; empty where there is none.
    """

    place: str
    cells: tuple[str, ...]
    text: str
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table, or the epochs of a log as one.

    Attributes:
        columns: heads of the columns.
        lines: lines below the heads.
        notes: what a reader should know of how they were found.
        is_log: whether it was a log.
        fractions: whether what wrote the log gives accuracies as fractions of 1.
        planned_epochs: number of epochs that the log says it is to have.
        caption: what stands above it, or around it in Markdown.
    """

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    is_log: bool = False
    fractions: bool = False
    planned_epochs: int | None = None
    caption: str = ""


def read_text(path: Path, encoding: str | None) -> str:
    """Reads a file's text.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    found = next((name for mark, name in marks.items() if content.startswith(mark)), encoding or "utf-8")
    try:
        text = content.decode(found)
    except (UnicodeDecodeError, LookupError):
        raise UserError(f"{path} is not in {found}; name its encoding with --encoding, such as cp1252") from None
    if "\0" in text or not text.strip():
        raise UserError(f"{path} holds {'no text' if text.strip() else 'nothing'}; it must be a table or a log")
    return text


def is_markdown(text: str) -> bool:
    """Checks whether a text has the line that a Markdown table draws under its head."""
    return any("|" in line and "-" in line and _SEPARATOR.match(line) for line in text.splitlines())


def read_markdown(path: Path, text: str, number: int | None) -> Table:
    """Reads a Markdown table.

    Args:
        path: path of the file, for messages.
        text: text of the file.
        number: which of several tables, from 1.

    Raises:
        UserError: if there is no such table, or several and none is named.
    """
    tables: list[list[tuple[int, list[str], str]]] = [[]]
    lines = text.splitlines()
    for count, line in enumerate(lines, 1):
        if "|" not in line:
            tables.append([])
        else:
            cells = re.split(r"(?<!\\)\|", re.sub(r"`[^`]*`", lambda m: m[0].replace("|", "\\|"), line.strip()))
            cells = cells[line.strip().startswith("|") : len(cells) - line.strip().endswith("|")]
            tables[-1].append((count, [cell.strip() for cell in cells], line))
    tables = [t for t in tables if len(t) > 1 and _SEPARATOR.match(t[1][2])]
    rows = [row for index, row in enumerate(tables[_chosen(path, len(tables), number)]) if index != 1]
    width = len(rows[0][1])
    # As the format has it, cells that a line lacks at its end are empty.
    table = _table(path, [(at, cells + [""] * (width - len(cells)), line) for at, cells, line in rows])
    above, below = lines[: rows[0][0] - 1][::-1], lines[rows[-1][0] :]
    around = [next(filter(str.strip, part), "") for part in (above, below)]
    return replace(table, caption=" ".join(line for line in around if "|" not in line))


def is_latex(text: str) -> bool:
    """Checks whether several lines of a text have cells parted as LaTeX parts them."""
    return len(_LATEX_ROW.findall(text)) > 1


def read_latex(path: Path, text: str, number: int | None) -> Table:
    """Reads a table of LaTeX, of which each line of cells is a line of the text; see `read_markdown`."""
    tables, before = [], 0
    for part in re.split(r"(?<=\\end\{tabular)", text):
        rows = []
        begins = part[: max(0, part.find(r"\begin{tabular"))].count("\n")  # where prose with an & in it ends
        for at, line in list(enumerate(part.splitlines(), before + 1))[begins:]:
            body = _LATEX_SPAN.sub(lambda m: m[2] + "&" * (int(m[1]) - 1), _LATEX_RULE.sub("", line))
            cells = re.split(r"(?<!\\)&", body.partition(r"\\")[0])
            rows += [(at, [cell.strip() for cell in cells], line)] * (len(cells) > 1)
        caption = " ".join(re.findall(r"\\caption\s*\{(.*)\}", part))
        tables += [(rows, caption)] * bool(rows)
        before += part.count("\n")
    rows, caption = tables[_chosen(path, len(tables), number)]
    return replace(_table(path, rows), caption=caption)


def _chosen(path: Path, tables: int, number: int | None) -> int:
    """Returns the place, from 0, of the table that the user names, or of the only one.

    Raises:
        UserError: if there is no such table, or several and none is named.
    """
    if number is None and tables > 1:
        raise UserError(f"{path} holds {tables} tables; name one with --table, from 1 to {tables}")
    if not 1 <= (number or 1) <= tables:
        raise UserError(f"{path} holds {tables} of them, so --table {number} is none")
    return (number or 1) - 1


def read_delimited(path: Path, text: str, kind: str) -> Table:
    """Reads CSV (commas, semicolons or bars between cells) or TSV.

    Raises:
        UserError: if its lines are no table.
    """
    lines = text.splitlines()
    shared = {mark: _agreement(_split(path, text, mark)) for mark in _DELIMITERS[kind]}
    delimiter = max(shared, key=lambda mark: shared[mark])
    rows = _split(path, text, delimiter)
    if delimiter == "|" and not any(cells[0] or cells[-1] for _, _, cells in rows):  # bars at both ends too
        rows = [(at, end, cells[1:-1]) for at, end, cells in rows]
    return _table(path, [(at, cells, " ".join(lines[at - 1 : end])) for at, end, cells in rows])


def guess_delimited(path: Path, text: str) -> str:
    """Guesses `tsv` where the file's name says so or tabs part most lines, else `csv`."""
    tabs = sum("\t" in line for line in text.splitlines() if line.strip())
    lines = sum(bool(line.strip()) for line in text.splitlines())
    return "tsv" if path.suffix.lower() in (".tsv", ".tab") or tabs * 2 > lines else "csv"


def _agreement(rows: Sequence[tuple[int, int, list[str]]]) -> tuple[float, int]:
    """Computes the share of lines that have the commonest number of cells, and that number."""
    widths = Counter(len(cells) for _, _, cells in rows)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
    return (count / max(1, len(rows)) if width > 1 else 0.0, width)


def _split(path: Path, text: str, delimiter: str) -> list[tuple[int, int, list[str]]]:
    """Splits a text into records that are not blank: first line, last line and cells of each."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    rows, before = [], 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not _RULE.fullmatch(delimiter.join(cells)):
                rows.append((before + 1, reader.line_num, [cell.strip() for cell in cells]))
            before = reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: the cells cannot be told apart ({error})") from error
    return rows


def _table(path: Path, rows: list[tuple[int, list[str], str]]) -> Table:
    """Makes a table of records: captions off, heads of several lines joined, cells counted."""
    notes: list[str] = []
    captions: list[str] = []
    width = Counter(_filled(cells) for _, cells, _ in rows).most_common(1)[0][0]
    while len(rows) > 1 and rows[0][1][0] and _filled(rows[0][1]) == 1 < width:
        captions.append(rows[0][1][0])
        notes.append(f"line {rows[0][0]} is taken as a caption: {captions[-1]}")
        rows = rows[1:]
    heads, over, rows = _heads(rows)
    if len(heads) < 2 or not rows:
        raise UserError(
            f"{path} holds no table: a head with a name for each column, and lines of cells below it, parted by commas,"
            " semicolons, tabs or bars"
        )
    lines, group = [], ""
    alone = [_alone(cells) for _, cells, _ in rows]
    last = max((index for index, text in enumerate(alone) if not text), default=0)
    for index, (at, cells, text) in enumerate(rows):
        if [clean(cell) for cell in cells[: len(heads)]] == list(heads):
            continue  # the head again, as long tables print it
        # Where the first line is no group's head, such a line may as well be of a run that prints no number.
        if alone[index] and index < last and (alone[0] or len(list(filter(None, cells))) > 1):
            group = clean(alone[index])
            notes.append(f"line {at} heads the lines below it, whose labels begin with it: {group}")
        elif alone[index] and cells[0]:
            notes.append(f"line {at} has no numbers and is passed over: {alone[index]}")
        elif _filled(cells) > len(heads) or (len(cells) < len(heads) and _filled(cells) < len(heads)):
            hint = "; a number with a comma in it must stand in quotes" if len(cells) > len(heads) else ""
            raise UserError(f"{path}, line {at} has {len(cells)} cells and the head {len(heads)}{hint}")
        else:
            full = [*cells, *[""] * len(heads)][: len(heads)]
            lines.append(Line(f"line {at}", tuple(full), text.strip(), group))
    return _upright(_by_group(Table(heads, tuple(lines), tuple(notes), caption=" ".join(captions)), over))


def _alone(cells: Sequence[str]) -> str:
    """Returns what a line says that has one text alone, in one cell or repeated in all; empty for other lines."""
    texts = set(filter(None, cells))
    text = texts.pop() if len(texts) == 1 else ""
    only_first = bool(cells[0]) and _filled(cells) == 1
    return text if only_first or not (is_numeric(text) or is_blank(text)) else ""


def _filled(cells: Sequence[str]) -> int:
    """Counts the cells up to the last that is not empty."""
    return max((index for index, cell in enumerate(cells, 1) if cell), default=0)


_Rows = list[tuple[int, list[str], str]]
"""Lines of a table: number, cells and text of each."""


def _heads(rows: _Rows) -> tuple[tuple[str, ...], tuple[str, ...], _Rows]:
    """Reads the columns' names, from as many lines as the head has, and parts them from the lines below it.

    Returns:
        The names; for each column the first line of its name, where there are others, else an empty text; the lines.
    """
    count = 1
    spans = "" in rows[0][1][1 : _filled(rows[0][1])] or _filled(rows[0][1]) < max(_filled(r[1]) for r in rows)
    repeats = len(set(filter(None, rows[0][1]))) < len(list(filter(None, rows[0][1])))
    while count < min(3, len(rows) - 1) and (spans or repeats or _are_units(rows[count][1])):
        if any(map(is_numeric, rows[count][1][1:])) or (rows[count][1][0] and _filled(rows[count][1]) == 1):
            break
        count += 1
    width = max(_filled(cells) for _, cells, _ in rows[:count])
    parts: list[list[str]] = [[] for _ in range(width)]
    for depth, (_, cells, _) in enumerate(rows[:count]):
        above = ""
        for column in range(width):
            cell = clean(cells[column]) if column < len(cells) else ""
            above = cell or (above if depth < count - 1 and column else "")  # a cell that is merged over several
            if above and above not in parts[column]:
                parts[column].append(above)
    over = tuple(names[0] if len(names) > 1 else "" for names in parts)
    return tuple(" ".join(names) for names in parts), over, rows[count:]


def _by_group(table: Table, over: Sequence[str]) -> Table:
    """Gives each group of columns lines of its own, where several hold the same quantity, as CIFAR-10 and SVHN do.

    Args:
        table: the table.
        over: what stands over each column's own head, such as the name of a dataset; empty for nothing.
    """
    names = [head.removeprefix(above).strip() for head, above in zip(table.columns, over, strict=True)]
    groups = [above for above in dict.fromkeys(over) if above and not _is_of_one_row(above)]
    # The column of each quantity, and of each name that is none, by group.
    at: dict[str, dict[object, int]] = {group: {} for group in groups}
    for column, (name, above) in enumerate(zip(names, over, strict=True)):
        what = meaning(name)
        quantity = (what.kind, what.split, what.averages, what.unit.strip("%"))
        if above in at and at[above].setdefault(quantity if what.kind else name, column) != column:
            return table
    count = Counter(what for columns in at.values() for what in columns if isinstance(what, tuple))
    if max(count.values(), default=0) < 2:
        return table
    shared = [column for column, above in enumerate(over) if above not in at]
    inner = {what: names[column] for columns in reversed(at.values()) for what, column in columns.items()}
    lines = []
    for group, columns in at.items():
        for line in table.lines:
            own = [line.cells[columns[what]] if what in columns else "" for what in inner]
            cells = (*(line.cells[column] for column in shared), *own)
            lines.append(replace(line, cells=cells, group=", ".join(filter(None, (group, line.group)))))
    told = f"each line is taken once for each of {listed(groups)}, which stand over the columns"
    heads = (*(table.columns[column] for column in shared), *inner.values())
    return replace(table, columns=heads, lines=tuple(lines), notes=(*table.notes, told))


def _is_of_one_row(above: str) -> bool:
    """Checks whether what stands over columns is a part of the data or a quantity, of which a row has several."""
    return bool(meaning(f"{above} accuracy").split) or meaning(above).kind not in ("", "label")


def _are_units(cells: Sequence[str]) -> bool:
    """Checks whether a line names the units of the columns above it."""
    return all(clean(cell).strip("()[] ").lower() in UNITS for cell in cells if cell)


def _upright(table: Table) -> Table:
    """Turns a table so that it has a line for each run: some have the quantities at the side and the runs across."""
    across = [bool(meaning(name).kind) for name in table.columns[1:]]
    down = [bool(meaning(line.cells[0]).kind) for line in table.lines]
    if any(across) or not any(down):
        return table
    columns = zip(*(line.cells[1:] for line in table.lines), strict=True)
    lines = tuple(
        Line(f"column {head or f'#{number}'}", (head, *cells), f"{head}: {', '.join(cells)}")
        for number, (head, cells) in enumerate(zip(table.columns[1:], columns, strict=True), 2)
    )
    names = ("label", *(f"{line.group} {clean(line.cells[0])}".strip() for line in table.lines))
    told = "its columns are taken as the rows, since the quantities stand at its side"
    return replace(table, columns=names, lines=lines, notes=(*table.notes, told))
