"""Writes docs/reports.md: for each report what is stated, from code, inferred and unknown.

Everything in it comes from the rows' files and from `reproductions/notes/reports.yaml`.
"""

from collections.abc import Sequence
from typing import Any

from cifar_hpc.collection import reproduction
from cifar_hpc.collection.reproduction import REPORTS, Row
from cifar_hpc.errors import UserError

ORIGINS = {
    "stated": "the report says so",
    "code": "the authors' published code says so",
    "inferred": "it follows from something else that is known",
    "identified": "`identify` found that it printed the very numbers that are judged",
    "unknown": "nothing is known; what was chosen, and why",
}


def page(rows: Sequence[Row]) -> str:
    """The whole page as Markdown.

    Args:
        rows: all rows.

    Raises:
        UserError: if notes/reports.yaml lacks a report.
    """
    notes_file = reproduction.reproductions_folder() / "notes" / "reports.yaml"
    notes = reproduction.read_yaml(notes_file)
    for report in REPORTS:
        if not isinstance(notes.get(report), dict) or not {"title", "hpc_tools", "mapping"} <= notes[report].keys():
            raise UserError(f"{notes_file}: {report} is missing or has no title, hpc_tools and mapping")
    lines = [
        "# The five reports, setting by setting",
        "",
        "Generated from the rows' files by `make docs`; change those, not this page.",
        "",
        *(f"- **{origin}**: {meaning}" for origin, meaning in ORIGINS.items()),
        "",
    ]
    for report in REPORTS:
        chosen = [row for row in rows if row.reproduction.report == report]
        lines += _section(report, notes[report], chosen)
    return "\n".join(lines)


def _section(report: str, note: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    lines = [
        f"## {report}",
        "",
        f"{note['title']}. {len(rows)} row{'s' if len(rows) != 1 else ''}.",
        "",
        f"**HPC tools.** {note['hpc_tools']}",
        "",
    ]
    lines += ["| the report's | here |", "|---|---|"]
    lines += [f"| {theirs} | `{ours}` |" for theirs, ours in note["mapping"].items()]
    lines += ["", "| setting | origin | where, or why | rows |", "|---|---|---|---|"]
    names = {row.reproduction.name: row.reproduction.name.removeprefix(f"{report}_") for row in rows}
    together: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for setting, found in row.reproduction.settings.items():
            together.setdefault((setting, found.origin, found.where), []).append(names[row.reproduction.name])
    settings = list(dict.fromkeys(setting for setting, _, _ in together))
    for (setting, origin, where), which in sorted(together.items(), key=lambda item: settings.index(item[0][0])):
        lines.append(f"| {setting} | {origin} | {where} | {'all' if len(which) == len(rows) else ', '.join(which)} |")
    return [*lines, ""]
