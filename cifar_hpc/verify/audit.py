"""The command `audit`: what the reports print, checked without training anything."""

from collections.abc import Sequence
from dataclasses import asdict

from cifar_hpc import reproduction
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output
from cifar_hpc.reproduction import Row
from cifar_hpc.verify.forensics import tables
from cifar_hpc.verify.forensics.finding import Finding


def findings(reports: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong in these reports, report by report.

    Args:
        reports: names of reports; empty for all.

    Raises:
        UserError: if there is no such report, or a file of ours is wrong.
    """
    return [finding for row in _rows(reports) for finding in tables.audit_row(row)]


def command(reports: Sequence[str], json_file: str | None) -> int:
    """Prints the findings.

    Returns:
        0 when nothing was found, 1 otherwise.
    """
    rows, found = _rows(reports), findings(reports)
    if json_file is not None:
        write_json_output(
            {"rows": [row.reproduction.row for row in rows], "findings": [asdict(f) for f in found]}, json_file
        )
    if json_file != "-":
        for finding in found:
            print(f"{finding.row or finding.report} ({finding.where}), {finding.strength}: {finding.sentence}")
        print(f"{len(found)} findings in {len(rows)} rows, by {len(tables.RULES)} rules")
    return 1 if found else 0


def _rows(reports: Sequence[str]) -> list[Row]:
    """The rows of these reports, or of all."""
    for report in reports:
        if report not in reproduction.REPORTS:
            raise UserError(f"There is no report {report}; the reports are {', '.join(reproduction.REPORTS)}")
    rows = [reproduction.read_row(path) for path in reproduction.row_files()]
    return [row for row in rows if not reports or row.reproduction.report in reports]
