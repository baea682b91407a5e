"""The command `transcribe`: a printed table or log becomes the files of rows, in a collection's folder."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from cifar_hpc.collection import folder
from cifar_hpc.collection.defaults import GROUPS
from cifar_hpc.collection.reproduction import no_id
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell
from cifar_hpc.transcribe import by_class
from cifar_hpc.transcribe.files import Names, names_of, text_of, write
from cifar_hpc.transcribe.found import Choices, FoundRow, summed_up
from cifar_hpc.transcribe.logs import looks_like_log, read_log
from cifar_hpc.transcribe.quantities import OTHER_KEYS, POINT_KEYS, ROW_KEYS
from cifar_hpc.transcribe.rows import TableReader
from cifar_hpc.transcribe.tables import (
    Table,
    guess_delimited,
    is_latex,
    is_markdown,
    read_delimited,
    read_latex,
    read_markdown,
    read_text,
)

FORMATS = ("csv", "tsv", "markdown", "latex", "log", "classification")


@dataclass(frozen=True)
class TableRequest:
    """What the command line asks for.

    Attributes:
        table: the file.
        report: id of the report.
        where: the table's place in the report; empty for the file's name.
        form: format of the file, of `FORMATS`; null to tell by the text.
        number: which of several tables, from 1.
        encoding: encoding of a file that is no UTF-8.
        columns: what columns are, each as `NAME=KEY`.
        units: units of values: `percent`, `fraction`, or `NAME=` one of them.
        decimal: what stands before decimals, comma or point.
        kind: what the table's lines are, rows or a curve.
        brackets: what numbers in brackets behind others are, std or ignore.
        runs: number of runs over which the report takes its means.
        images: number of images in the test set.
        classes: number of classes in the test set.
        class_images: number of images of each class, or one number for all.
        base: file or name of a row whose experiment the rows take over.
        replace: whether files that were transcribed before are replaced.
    """

    table: Path
    report: str
    where: str = ""
    form: str | None = None
    number: int | None = None
    encoding: str | None = None
    columns: Sequence[str] = ()
    units: Sequence[str] = ()
    decimal: Literal["point", "comma"] | None = None
    kind: Literal["rows", "curve"] | None = None
    brackets: Literal["std", "ignore"] | None = None
    runs: int | None = None
    images: int | None = None
    classes: int | None = None
    class_images: Sequence[int] = ()
    base: str | None = None
    replace: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `transcribe`."""
    parser.epilog = f"Keys of columns: {', '.join(dict.fromkeys((*ROW_KEYS, *POINT_KEYS, *OTHER_KEYS)))}."
    parser.add_argument(
        "table",
        metavar="TABLE",
        type=Path,
        help="CSV, TSV, a table in Markdown or LaTeX, or a training log",
    )
    parser.add_argument(
        "--report", metavar="ID", required=True, help="id of the report, under `reports` in collection.yaml"
    )
    parser.add_argument(
        "--where", metavar="TEXT", default="", help='place in the report, as "Table 2" (default: the file\'s name)'
    )
    parser.add_argument(
        "--columns", metavar="NAME=KEY", nargs="+", action="extend", default=[],
        help='what columns are, as "Acc=test_accuracy_percent"; #2 names the second column, `ignore` leaves one out',
    )  # fmt: skip
    parser.add_argument(
        "--unit", dest="units", metavar="UNIT", nargs="+", action="extend", default=[],
        help="percent or fraction, of values that may be either; NAME=fraction for one column",
    )  # fmt: skip
    parser.add_argument("--decimal", choices=("point", "comma"), help="before decimals, where the table leaves it open")
    parser.add_argument("--kind", choices=("rows", "curve"), help="whether lines are trainings or epochs of one")
    parser.add_argument("--format", dest="form", choices=FORMATS, help="of the file (default: told by its text)")
    parser.add_argument(
        "--table",
        dest="number",
        metavar="N",
        type=int,
        help="which of several tables in a file, from 1",
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a file that is no UTF-8, as cp1252")
    parser.add_argument(
        "--brackets", choices=("std", "ignore"), help="what 0.30 in 91.20 (0.30) is, where no head or caption says it"
    )
    parser.add_argument(
        "--runs", metavar="K", type=int, help="over how many runs the table has means ± standard deviations"
    )
    parser.add_argument("--images", metavar="N", type=int, help="in the test set")
    parser.add_argument("--classes", metavar="N", type=int, help="in the test set")
    parser.add_argument(
        "--class_images", metavar="N", type=int, nargs="+", default=[], help="of each class, or one number for all"
    )
    parser.add_argument(
        "--base", metavar="FILE", help="file or name of a row whose experiment (trainer, model, data) is taken over"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace files that `transcribe` wrote before; they are kept as ROW.yaml.before",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carries out `transcribe`."""
    return command(TableRequest(**{each.name: getattr(arguments, each.name) for each in fields(TableRequest)}))


def command(request: TableRequest) -> int:
    """Writes a file for each row of the table, and prints what was taken and what was not.

    Returns:
        0.

    Raises:
        UserError: if anything is wrong, or is for the user to say; nothing is written then.
    """
    collection = folder.chosen()
    if told := no_id(request.report):
        raise UserError(f"--report {request.report} {told}")
    if collection.folder.resolve() == folder.packaged().resolve() and not folder.is_here(collection):
        here = " (`--collection .` for this folder)" if Path(folder.INDEX).is_file() else ""
        right = f"name one of your own with --collection DIR{here}; `init DIR` makes one"
        raise UserError(f"{collection.folder} holds the packaged reports, to which transcribe adds none; {right}")
    test_set, base = _test_set(request), _base(request)
    rows, notes = _read(request)
    names = [names_of(row, request.report, request.where, request.table, len(rows) == 1) for row in rows]
    files = {}
    for row, name in zip(rows, names, strict=True):
        own = _agreed(test_set, row) if base is None else None
        files[collection.folder / f"{name.row}.yaml"] = text_of(row, request.table, name, own, base)
    write(collection, request.report, request.table, files, request.replace)
    for line in summed_up([_told(*each) for each in zip(files, names, rows, strict=True)], "rows"):
        tell(line)
    for note in summed_up(notes, "notes"):
        tell(f"note: {note}")
    if base is None and test_set is None and not any(row.test_set for row in rows):
        tell("note: no test set is named, so `audit` counts no images; --images and --classes name it")
    tell(f"Check: {collection.command('audit', request.report)}")
    return 0


def _read(request: TableRequest) -> tuple[list[FoundRow], list[str]]:
    """Reads the rows of the file, numbered, and what a reader should know of how they were found."""
    choices = Choices(
        dict(_pairs(request.columns, "--columns")),
        dict(_units(request.units)),
        request.decimal,
        request.kind,
        request.runs,
        request.brackets,
    )
    readings = [TableReader(request.table, table, choices) for table in _tables(request)]
    rows = [row for reading in readings for row in reading.rows()]
    if len(readings) > 1:
        rows = [replace(row, number=number) for number, row in enumerate(rows, 1)]
    return rows, list(dict.fromkeys(note for reading in readings for note in reading.notes))


def _told(path: Path, name: Names, row: FoundRow) -> str:
    """Writes a row's line for the terminal."""
    numbers = ", ".join(f"{key} {digits}" for key, digits in row.reported.items())
    return f"{path} ({name.label}): {numbers}{f'; {len(row.curve)} epochs' if row.curve else ''}"


def _agreed(test_set: dict[str, Any] | None, row: FoundRow) -> dict[str, Any] | None:
    """Picks the test set that the table's support counts, or else the one that the flags name.

    Raises:
        UserError: if both do, and do not agree.
    """
    if test_set and row.test_set and any(row.test_set.get(key) != value for key, value in test_set.items()):
        raise UserError(f"The flags say {test_set} of the test set, and {row.place} with its support {row.test_set}")
    return row.test_set or test_set


def _tables(request: TableRequest) -> list[Table]:
    """Reads the file's table, or the trainings of its log."""
    path = request.table
    text = read_text(path, request.encoding)
    form = request.form
    if form is None:
        form = _form(path, text)
    if form == "markdown":
        return [read_markdown(path, text, request.number)]
    if form == "latex":
        return [read_latex(path, text, request.number)]
    if form == "log":
        tables = read_log(rest := by_class.without_reports(text))
        if not tables:
            raise UserError(f"{path} is a log that prints no value of a whole epoch; a table may be made of it by hand")
        if rest != text:
            note = "its classification report is passed over; --format classification takes that instead"
            tables[0] = replace(tables[0], notes=(*tables[0].notes, note))
        return tables
    if form == "classification":
        return [by_class.read_report(path, text, request.number)]
    return [read_delimited(path, text, form)]


def _form(path: Path, text: str) -> str:
    """Tells which of `FORMATS` a text has."""
    if is_latex(text):
        return "latex"
    if is_markdown(text):
        return "markdown"
    rest = by_class.without_reports(text)
    if looks_like_log(rest):
        return "log"
    return "classification" if rest != text else guess_delimited(path, text)


def _pairs(given: Sequence[str], flag: str) -> list[tuple[str, str]]:
    pairs = []
    for each in given:
        name, mark, value = (part.strip() for part in each.rpartition("="))
        if not (name and mark and value):
            raise UserError(f'{flag} {each} names no column; it must be as {flag} "Acc=test_accuracy_percent"')
        pairs.append((name, value))
    return pairs


def _units(given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [("", each) for each in given if "=" not in each]
    pairs += _pairs([each for each in given if "=" in each], "--unit")
    for _, unit in pairs:
        if unit not in ("percent", "fraction"):
            raise UserError(f"--unit {unit} is none; it must be percent or fraction, or NAME= one of them")
    return pairs


def _test_set(request: TableRequest) -> dict[str, Any] | None:
    """Makes the group `test_set` from the flags; null where they name none."""
    images, classes, each = request.images, request.classes, list(request.class_images)
    if images is None and classes is None and not each:
        return None
    if request.base is not None:
        raise UserError("--base brings a row's own data; leave out --images, --classes and --class_images")
    if len(each) > 1:
        images, classes = images or sum(each), classes or len(each)
    elif each and (images or classes):
        images, classes = images or each[0] * (classes or 0), classes or (images or 0) // max(each[0], 1)
    if images is None or classes is None:
        raise UserError("A test set needs --images and --classes; --class_images has those of each class")
    found = {"images": images, "classes": classes}
    return found | ({"class_images": each[0] if len(set(each)) == 1 else each} if each else {})


def _base(request: TableRequest) -> dict[str, Any] | None:
    """Reads the experiment of the row that --base names; null where it names none."""
    if request.base is None:
        return None
    path = folder.configuration_file(request.base, "--base", with_packaged=True)
    content = read_yaml(path)
    if missing := [key for key in GROUPS if not isinstance(content.get(key), dict)]:
        raise UserError(f"--base {path} has no {' and no '.join(missing)}, so there is no experiment to take over")
    settings: Mapping[str, Any] = {}
    if (owner := folder.owner(path)) is not None:
        with folder.choosing(str(owner)):
            settings = folder.chosen().read(path).reproduction.settings
    group = content.get("reproduction") or {}
    taken = f"as in {group.get('row') or path.stem}, whose experiment was taken over; not yet held against this report"
    return {
        "settings": {key: {"origin": "inferred", "where": taken} for key in settings or group.get("settings") or {}},
        "group": {key: group[key] for key in ("margin_percent", "trainable_parameters") if key in group},
        "experiment": {key: content[key] for key in ("seed_everything", *GROUPS) if key in content},
    }
