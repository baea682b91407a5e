"""The command `transcribe`: a printed table or log becomes the files of rows, in a collection's folder."""

import argparse
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from cifar_hpc.collection import folder
from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.reproduction import read_row
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_file
from cifar_hpc.transcribe.logs import looks_like_log, read_log
from cifar_hpc.transcribe.quantities import OTHER_KEYS, POINT_KEYS, ROW_KEYS
from cifar_hpc.transcribe.rows import Choices, FoundRow, Reading
from cifar_hpc.transcribe.tables import Table, guess_delimited, is_markdown, read_delimited, read_markdown, read_text

FORMATS = ("csv", "tsv", "markdown", "log")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        table: the file.
        report: id of the report.
        where: the table's place in the report; empty for the file's name.
        form: of `FORMATS`; null to tell by the text.
        number: which of several tables, from 1.
        encoding: of a file that is no UTF-8.
        columns: `NAME=KEY` each.
        units: `percent`, `fraction`, or `NAME=` one of them.
        decimal: comma or point.
        kind: rows or curve.
        runs: over how many the report takes its means.
        images: of the test set.
        classes: of the test set.
        class_images: of each class, or one number for all.
        base: file or name of a row whose experiment the rows take over.
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
    runs: int | None = None
    images: int | None = None
    classes: int | None = None
    class_images: Sequence[int] = ()
    base: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `transcribe`."""
    parser.epilog = f"Keys of columns: {', '.join(dict.fromkeys((*ROW_KEYS, *POINT_KEYS, *OTHER_KEYS)))}."
    parser.add_argument(
        "table", metavar="TABLE", type=Path, help="CSV, TSV, a file with a Markdown table, or a training log"
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
        "--table", dest="number", metavar="N", type=int, help="which of several Markdown tables, from 1"
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a file that is no UTF-8, as cp1252")
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


def run(arguments: argparse.Namespace) -> int:
    """Carries out `transcribe`."""
    return command(Request(**{each.name: getattr(arguments, each.name) for each in fields(Request)}))


def command(request: Request) -> int:
    """Writes a file for each row of the table, and prints what was taken and what was not.

    Returns:
        0.

    Raises:
        UserError: if anything is wrong, or is for the user to say; nothing is written then.
    """
    collection = folder.chosen()
    if not _ID.fullmatch(request.report):
        raise UserError(f"--report {request.report} is no id of a report; it may have letters, digits, _ and -")
    if collection.folder.resolve() == folder.packaged().resolve() and not folder.is_here(collection):
        here = " (`--collection .` for this folder)" if Path(folder.INDEX).is_file() else ""
        right = f"name one of your own with --collection DIR{here}; `init DIR` makes one"
        raise UserError(
            f"transcribe writes into a collection, and {collection.folder} holds the packaged reports; {right}"
        )
    test_set, base = _test_set(request), _base(request, collection)
    choices = Choices(
        dict(_pairs(request.columns, "--columns")),
        dict(_units(request.units)),
        request.decimal,
        request.kind,
        request.runs,
    )
    readings = [Reading(request.table, table, choices) for table in _tables(request)]
    rows = [row for reading in readings for row in reading.rows()]
    several = len(readings) > 1
    for number, row in enumerate(rows, 1):
        row.number = number if several else row.number
    place = request.where or request.table.name
    files = {}
    for row in rows:
        of = f"row {row.number}" if not row.is_training else f"run {row.number}" if len(rows) > 1 else ""
        name = "_".join(filter(None, (request.report, _slug(request.where or request.table.stem), of.replace(" ", ""))))
        path = collection.folder / f"{name}.yaml"
        files[path] = _text(request, row, path.stem, ", ".join(filter(None, (place, of))), test_set, base)
    _write(collection, request.report, files)
    for path, row in zip(files, rows, strict=True):
        numbers = ", ".join(f"{key} {digits}" for key, digits in row.reported.items())
        tell(f"{path} ({row.label or place}): {numbers}{f'; {len(row.curve)} epochs' if row.curve else ''}")
    for note in dict.fromkeys(note for reading in readings for note in reading.notes):
        tell(f"note: {note}")
    if base is None and test_set is None:
        tell("note: no test set is named, so `audit` counts no images; --images and --classes name it")
    tell(f"Check: {collection.command('audit', request.report)}")
    return 0


def _tables(request: Request) -> list[Table]:
    """The file's table, or the trainings of its log."""
    path = request.table
    text = read_text(path, request.encoding)
    form = request.form
    if form is None:
        form = "markdown" if is_markdown(text) else "log" if looks_like_log(text) else guess_delimited(path, text)
    if form == "markdown":
        return [read_markdown(path, text, request.number)]
    if form == "log":
        tables = read_log(text)
        if not tables:
            raise UserError(f"{path} is a log that prints no value of a whole epoch; a table may be made of it by hand")
        return tables
    return [read_delimited(path, text, form)]


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


def _test_set(request: Request) -> dict[str, Any] | None:
    """The group of that name, from the flags."""
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
    return found | ({"class_images": each[0] if len(each) == 1 else each} if each else {})


def _base(request: Request, collection: Collection) -> dict[str, Any] | None:
    """The experiment of another row."""
    if request.base is None:
        return None
    path = folder.configuration_file(request.base, "--base", with_packaged=True)
    content = read_yaml(path)
    if missing := [key for key in ("trainer", "model", "data") if not isinstance(content.get(key), dict)]:
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
        "experiment": {key: content[key] for key in ("seed_everything", "trainer", "model", "data") if key in content},
    }


def _text(
    request: Request, row: FoundRow, name: str, where: str, test_set: dict[str, Any] | None, base: dict[str, Any] | None
) -> str:
    """A row's file."""
    printed = [line.rstrip() for line in row.text.splitlines()]
    lines = [f"# python -m cifar_hpc fit -c {name}"] * (base is not None)
    lines += [f"# Transcribed from {request.table.name}, {row.place}:", *(f"#   {line}" for line in printed)]
    lines += [
        "reproduction:",
        f"  row: {name}",
        f"  report: {_quoted(request.report)}",
        f"  where: {_quoted(where)}",
        f"  label: {_quoted(row.label or where)}",
        "  reported:",
        *(f"    {key}: {_number(digits)}" for key, digits in row.reported.items()),
    ]
    if row.averages:
        lines.append(f"    averages: {row.averages}")
    if row.curve:
        points = (", ".join(f"{key}: {_number(digits)}" for key, digits in point.items()) for point in row.curve)
        lines += ["    curve:", *(f"      - {{{point}}}" for point in points)]
    if test_set is not None:
        lines.append(f"  test_set: {_flow(test_set)}")
    if base is not None:
        lines += ["  settings:"] * bool(base["settings"])
        lines += [f"    {key}: {_flow(setting)}" for key, setting in base["settings"].items()]
        lines += [f"  {key}: {value}" for key, value in base["group"].items()]
        experiment = deepcopy(base["experiment"])
        experiment["trainer"]["max_epochs"] = int(row.reported.get("epochs") or experiment["trainer"]["max_epochs"])
        lines += ["", yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True).rstrip()]
    return "\n".join(lines) + "\n"


def _number(digits: str) -> str:
    """A number for YAML: as a text where a number would not keep its digits."""
    return digits if digits in (repr(float(digits)), str(int(float(digits)))) else f'"{digits}"'


def _quoted(text: str) -> str:
    """A text for YAML, quoted where it must be."""
    plain = re.fullmatch(r"[A-Za-z][\w-]*", text) and yaml.safe_load(text) == text
    return text if plain else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).strip()


def _flow(mapping: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(mapping), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    ).strip()


def _slug(text: str) -> str:
    """A part of an id: `Table 2` gives table2."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])[ _]+(?=\d)", "", text.lower())).strip("_")


def _write(collection: Collection, report: str, files: Mapping[Path, str]) -> None:
    """Writes the rows' files, and the report into collection.yaml where it is new.

    Raises:
        UserError: if a file is there already, or cannot be written or read back; then none is left.
    """
    if there := [path for path in files if path.exists()]:
        others = f" and {len(there) - 1} more" * (len(there) > 1)
        raise UserError(
            f"{there[0]}{others} exists already, and nothing is overwritten; name another place with --where"
        )
    index = collection.folder / folder.INDEX
    before = index.read_text(encoding="utf-8")
    written: list[Path] = []
    try:
        if report not in collection.reports:
            write_file(index, _with_report(index, before, report))
        for path, text in files.items():
            write_file(path, text)
            written.append(path)
        reports = folder.chosen().reports
        for path in files:
            read_row(path, reports)
    except (OSError, UserError):
        for path in written:
            path.unlink()
        write_file(index, before)
        raise
    if report not in collection.reports:
        tell(f"{index} has the report {report} now; give its title, authors and year there")


def _with_report(index: Path, text: str, report: str) -> str:
    """collection.yaml with one report more."""
    entry = [f"  {_quoted(report)}:", f"    title: {_quoted(report)}"]
    lines = text.splitlines()
    if "reports: {}" in lines:
        lines[lines.index("reports: {}")] = "reports:"
    at = next((n for n, line in enumerate(lines, 1) if re.match(r"reports:\s*(#|$)", line)), 0)
    changed = "\n".join([*lines[:at], *entry, *lines[at:]]) + "\n"
    try:
        before, after = (yaml.safe_load(each) for each in (text, changed))
        fits = after == {**before, "reports": {**(before.get("reports") or {}), report: {"title": report}}}
    except (yaml.YAMLError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise UserError(f"{index} has no report {report} under reports; add `{report}: {{title: …}}` there")
    return changed
