"""Writes docs/reports.md: for each report what is stated, from code, inferred and unknown.

Everything in it comes from the rows' files and from collection.yaml.
"""

from collections.abc import Sequence

from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.reproduction import Report, Row
from cifar_hpc.output import counted
from cifar_hpc.report.markdown import escape

ORIGINS = {
    "stated": "the report says so",
    "code": "the authors' published code says so",
    "inferred": "it follows from something else that is known",
    "identified": "`identify` found that it printed the very numbers that are judged",
    "unknown": "nothing is known; what was chosen, and why",
}


def page(collection: Collection) -> str:
    """Writes the whole page as Markdown."""
    lines = [
        "# The reports, setting by setting",
        "",
        "Generated from the rows' files by `make docs`; change those, not this page.",
        "",
        *(f"- **{origin}**: {meaning}" for origin, meaning in ORIGINS.items()),
        "",
    ]
    for name, report in collection.reports.items():
        lines += _section(name, report, [row for row in collection.rows.values() if row.reproduction.report == name])
    return "\n".join(lines)


def _section(name: str, report: Report, rows: Sequence[Row]) -> list[str]:
    lines = [f"## {name}", "", f"{escape(report.heading)}. {counted(len(rows), 'row')}.", ""]
    if report.tools:
        lines += [f"**HPC tools.** {escape(report.tools)}", ""]
    if report.mapping:
        lines += ["| the report's | here |", "|---|---|"]
        lines += [*(f"| {escape(theirs)} | `{escape(ours)}` |" for theirs, ours in report.mapping.items()), ""]
    lines += ["| setting | origin | where, or why | rows |", "|---|---|---|---|"]
    names = {row.reproduction.name: row.reproduction.name.removeprefix(f"{name}_") for row in rows}
    together: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for setting, found in row.reproduction.settings.items():
            together.setdefault((setting, found.origin, found.where), []).append(names[row.reproduction.name])
    settings = list(dict.fromkeys(setting for setting, _, _ in together))
    for (setting, origin, where), which in sorted(together.items(), key=lambda item: settings.index(item[0][0])):
        told = (setting, origin, where, "all" if len(which) == len(rows) else ", ".join(which))
        lines.append(f"| {' | '.join(map(escape, told))} |")
    return [*lines, ""]
