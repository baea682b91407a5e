"""Writes the files of rows, whole or not at all, and the report into collection.yaml where it is new."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from cifar_hpc.collection import folder
from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.reproduction import read_row
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_file
from cifar_hpc.transcribe.found import FoundRow, listed, summed_up

_MARK = "# Transcribed from"


@dataclass(frozen=True)
class Names:
    """What a row is called.

    Attributes:
        report: id of its report.
        row: its own id.
        where: its place in the report.
        label: what the report calls it.
    """

    report: str
    row: str
    where: str
    label: str


def names_of(row: FoundRow, report: str, where: str, table: Path, alone: bool) -> Names:
    """Names a row.

    Args:
        row: the row.
        report: id of its report.
        where: the table's place in the report; empty for the file's name.
        table: the file that was read.
        alone: whether the file has no other row.
    """
    of = f"{'run' if row.is_training else 'row'} {row.number}"
    own = _slug(where or table.stem)
    if f"{own}_".startswith(f"{_slug(report)}_"):  # no `anna_anna_row1`
        own = own[len(_slug(report)) + 1 :]
    several = not alone or (bool(row.label) and not row.is_training)
    parts = (report, own, of.replace(" ", "") if several or not own else "")
    place, label = (", ".join([name, of] if several else [name]) for name in (where or table.name, where or table.stem))
    return Names(report, "_".join(filter(None, parts)), place, row.label or label)


def _slug(text: str) -> str:
    """Makes a part of an id: `Table 2` gives table2."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[^\W\d_])[ _]+(?=\d)", "", text.lower())).strip("_")


def text_of(
    row: FoundRow,
    table: Path,
    names: Names,
    test_set: Mapping[str, Any] | None,
    base: dict[str, Any] | None,
) -> str:
    """Writes the text of a row's file.

    Args:
        row: what it holds.
        table: the file that was read.
        names: what the row is called.
        test_set: the group `test_set`; null for none.
        base: the experiment of another row; null for none.
    """
    printed = [line.rstrip() for line in row.text.splitlines()]
    lines = [f"# python -m cifar_hpc fit -c {names.row}"] * (base is not None)
    lines += [f"{_MARK} {table.name}, {row.place}:", *(f"#   {line}" for line in printed)]
    lines += [
        "reproduction:",
        f"  row: {_quoted(names.row)}",
        f"  report: {_quoted(names.report)}",
        f"  where: {_quoted(names.where)}",
        f"  label: {_quoted(names.label)}",
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
        stated = {"epochs": {"origin": "stated", "where": names.where}} if "epochs" in row.reported else {}
        settings = base["settings"] | stated
        lines += ["  settings:"] * bool(settings)
        lines += [f"    {key}: {_flow(setting)}" for key, setting in settings.items()]
        lines += [f"  {key}: {value}" for key, value in base["group"].items()]
        experiment = deepcopy(base["experiment"])
        experiment["trainer"]["max_epochs"] = int(row.reported.get("epochs") or experiment["trainer"]["max_epochs"])
        lines += ["", yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True).rstrip()]
    return "\n".join(lines) + "\n"


def _number(digits: str) -> str:
    """Writes a number for YAML: as a text where a number would not keep its digits."""
    return digits if digits in (repr(float(digits)), str(int(float(digits)))) else f'"{digits}"'


def _quoted(text: str) -> str:
    """Writes a text for YAML, quoted where it must be."""
    plain = re.fullmatch(r"[A-Za-z][\w-]*", text) and yaml.safe_load(text) == text
    return text if plain else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).strip()


def _flow(mapping: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(mapping), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    ).strip()


def write(collection: Collection, report: str, table: Path, files: Mapping[Path, str], replace: bool) -> None:
    """Writes the rows' files, and the report into collection.yaml where it is new.

    Args:
        collection: the collection to write to.
        report: id of the report.
        table: the file that was read.
        files: texts of the rows' files by path.
        replace: whether files that were made of the same table before are replaced, and kept beside.

    Raises:
        UserError: if a file is there that may not be replaced, or one cannot be written or read back; then everything
            is as before.
    """
    there = {path: path.read_text(encoding="utf-8", errors="replace") for path in files if path.exists()}
    _check_replaced(list(there), report, table, replace)
    there = {path: text for path, text in there.items() if text != files[path]}
    kept = {path: _beside(path) for path in there}
    index = collection.folder / folder.INDEX
    before = index.read_text(encoding="utf-8")
    touched: list[Path] = []
    try:
        if report not in collection.reports:
            write_file(index, _with_report(index, before, report))
        for path, text in files.items():
            touched.append(path)
            if path in kept:
                write_file(kept[path], path.read_bytes())
            write_file(path, text)
        reports = folder.chosen().reports
        for path in files:
            read_row(path, reports)
    except (OSError, UserError):
        _undo(touched, kept)
        write_file(index, before)
        raise
    if report not in collection.reports:
        tell(f"{index} has the report {report} now; give its title, authors and year there")
    for line in summed_up([f"{path} is replaced, and kept as {old.name}" for path, old in kept.items()], "replaced"):
        tell(line)
    others = [path for path in collection.row_files if path not in files and replace and _is_of(path, report, table)]
    if others:
        tell(f"Of {table.name}, but none of these rows, and left as they are: {listed(path.name for path in others)}")


def _is_of(path: Path, report: str, table: Path) -> bool:
    """Checks whether a row of the report was made of a table."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return f"\n{_MARK} {table.name}, " in f"\n{text}" and f"\n  report: {_quoted(report)}\n" in text


def _check_replaced(there: Sequence[Path], report: str, table: Path, replace: bool) -> None:
    """Refuses to overwrite files unless that was asked for, and those that were not made of the same table."""
    if strange := [path for path in there if not _is_of(path, report, table)]:
        raise UserError(
            f"{strange[0]} exists already and was not transcribed from {table.name}, so it stays; name another place "
            "with --where"
        )
    if there and not replace:
        first, others = there[0], f" and {len(there) - 1} more" * (len(there) > 1)
        raise UserError(
            f"{first}{others} exists already, and nothing is overwritten; name another place with --where, or add "
            f"--replace, which keeps the old one as {first.name}.before"
        )


def _beside(path: Path) -> Path:
    """Names the file that keeps what a file held before: ROW.yaml.before, or with a number behind it."""
    names = (path.with_name(f"{path.name}.before{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())


def _undo(touched: list[Path], kept: Mapping[Path, Path]) -> None:
    """Brings files back that were replaced, and removes new ones."""
    for path in touched:
        if path not in kept:
            path.unlink(missing_ok=True)
        elif kept[path].exists():
            kept[path].replace(path)


def _with_report(index: Path, text: str, report: str) -> str:
    """Adds a report to the text of collection.yaml."""
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
