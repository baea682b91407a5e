"""The command `audit`: what the reports print, checked without training anything."""

from collections.abc import Sequence
from dataclasses import asdict

from cifar_hpc.collection import reproduction
from cifar_hpc.collection.reproduction import REPORTS, Row
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.forensics.statements import read_statements, statements_file
from cifar_hpc.verify.forensics.tables import ROW_RULES, audit_row, seconds_per_epoch_agree
from cifar_hpc.verify.forensics.texts import TEXT_RULES

RULES = (*ROW_RULES, seconds_per_epoch_agree, *TEXT_RULES)
"""All rules: on single rows, on rows of one configuration, on what the texts state."""


def findings(reports: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong in these reports, report by report.

    Args:
        reports: names of reports; empty for all.

    Raises:
        UserError: if there is no such report, or a file of ours is wrong.
    """
    check_reports(reports)
    return audit([reproduction.read_row(path) for path in reproduction.row_files()], reports)


def audit(rows: Sequence[Row], reports: Sequence[str] = ()) -> list[Finding]:
    """What all rules find in these reports.

    Args:
        rows: all rows.
        reports: names of reports; empty for all.
    """
    by_id = {row.reproduction.name: row for row in rows}
    statements = read_statements(statements_file(), set(by_id))
    found = [finding for row in rows for finding in audit_row(row)]
    for report in REPORTS:
        found += seconds_per_epoch_agree([row for row in rows if row.reproduction.report == report])
    for rule in TEXT_RULES:
        found += rule(statements, by_id)
    return sorted(
        (finding for finding in found if not reports or finding.report in reports),
        key=lambda finding: REPORTS.index(finding.report),
    )


def command(reports: Sequence[str], json_file: str | None) -> int:
    """Prints the findings.

    Returns:
        0 when nothing was found, 1 otherwise.
    """
    check_reports(reports)
    rows = [reproduction.read_row(path) for path in reproduction.row_files()]
    found = audit(rows, reports)
    names = [row.reproduction.row for row in rows if not reports or row.reproduction.report in reports]
    if json_file is not None:
        write_json_output({"rows": names, "findings": [asdict(finding) for finding in found]}, json_file)
    if json_file != "-":
        for finding in found:
            tell(f"{finding.row or finding.report} ({finding.where}), {finding.strength}: {finding.sentence}")
        count = f"{len(found)} finding{'s' * (len(found) != 1)} in {len(names)} row{'s' * (len(names) != 1)}"
        tell(f"{count} and their reports' texts, by {len(RULES)} rules")
    return 1 if found else 0


def check_reports(reports: Sequence[str]) -> None:
    """Refuses names of reports that do not exist.

    Raises:
        UserError: naming the reports that do.
    """
    for report in reports:
        if report not in REPORTS:
            raise UserError(f"There is no report {report}; the reports are {', '.join(REPORTS)}")
