"""The reports of a collection at a glance, worst first: a line each for a terminal, and a CSV for a gradebook."""

import csv
import io
import sys
from collections import Counter
from pathlib import Path

from cifar_hpc.output import counted, terminal_width, write_file
from cifar_hpc.report.contents import STATES, Contents, ReportSection

STRENGTHS = ("impossible", "contradicts", "unlikely", "unusual")


def table(contents: Contents) -> str:
    """Writes a line for each report that fits the terminal: of the rules that do not, it says how many there are."""
    width = min(28, max(map(len, ("report", *(report.name for report in contents.reports)))) + 2)
    columns = terminal_width()
    lines = [f"{'report':<{width}}{'rows':>4}{'held':>6}{'off':>5}{'open':>6}  findings"]
    for report in contents.worst_first:
        counts = report.counts
        held, off = counts["reproduced"] + counts.get("plausible", 0), counts["above"] + counts["below"]
        left = sum(counts.values()) - held - off
        line = f"{report.name[: width - 1]:<{width}}{len(report.rows):>4}{held:>6}{off:>5}{left:>6}  "
        lines.append(line + told(report, columns and columns - len(line)))
    lines.append("held: numbers reproduced or plausible; off: above or below; open: not decided or not yet run")
    return "\n".join(lines)


def told(report: ReportSection, room: int | None = None) -> str:
    """Sums up a report's findings: what cannot be read, how many of which strength, the rules that made them.

    Args:
        report: a report of the collection.
        room: columns to spare; null for any number.
    """
    unreadable = f"{counted(len(report.refused), 'mistake')} in files" if report.refused else ""
    unchecked = f"{report.unchecked} of {len(report.rows)} rows not checked" if report.unchecked else ""
    strengths = [f"{report.strengths[s]} {s}" for s in STRENGTHS if report.strengths[s]]
    rules = Counter(finding.rule.replace("_", " ") for finding in report.all_findings)
    named = [f"{rule} ×{count}" if count > 1 else rule for rule, count in rules.most_common()]
    answer = ""
    for shown in range(len(named), -1, -1):
        more = counted(len(named) - shown, f"{'more ' * (shown > 0)}rule")
        these = ", ".join(named[:shown] + [more] * (shown < len(named)))
        found = f"{', '.join(strengths)}: {these}" if strengths else "" if unreadable or unchecked else "none"
        answer = "; ".join(filter(None, (unreadable, found, unchecked)))
        if room is None or len(answer) <= room:
            break
    return answer


def write_csv(contents: Contents, file: str) -> None:
    """Writes a line for each report, worst first, to a file or (`-`) to standard output.

    Raises:
        UserError: if the file cannot be written.
    """
    text = io.StringIO()
    head = (
        *("report", "title", "authors", "year", "mistakes in files", "rows", "rows not checked", "numbers"),
        *(*STATES, *STRENGTHS, "claims failed", "findings"),
    )
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for report in contents.worst_first:
        facts, counts = report.report, report.counts
        writer.writerow(
            [
                *(report.name, facts.title, facts.authors, facts.year or "", len(report.refused)),
                *(len(report.rows), report.unchecked, sum(len(row.numbers) for row in report.rows)),
                *(counts[state] for state in STATES),
                *(report.strengths[strength] for strength in STRENGTHS),
                sum(claim.verdict in ("above", "below", "contradicted by its own report") for claim in report.claims),
                " | ".join(
                    [
                        *report.refused,
                        *(f"{f.row or f.where}: {f.sentence} ({f.strength})" for f in report.all_findings),
                    ]
                ),
            ]
        )
    if file == "-":
        sys.stdout.write(text.getvalue())
        return
    write_file(Path(file), text.getvalue(), "--csv")
