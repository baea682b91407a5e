"""The command `audit`: the reports' own tables, checked without training anything."""

from dataclasses import asdict

from cifar_hpc import reproduction
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output
from cifar_hpc.verify.forensics import RULES, audit_row


def command(reports: list[str], json_file: str | None) -> int:
    """Prints the findings.

    Returns:
        0 when nothing was found, 1 otherwise.
    """
    for report in reports:
        if report not in reproduction.REPORTS:
            raise UserError(f"There is no report {report}; the reports are {', '.join(reproduction.REPORTS)}")
    rows = [reproduction.read_row(path) for path in reproduction.row_files()]
    rows = [row for row in rows if not reports or row.reproduction.report in reports]
    findings = [finding for row in rows for finding in audit_row(row)]
    if json_file is not None:
        write_json_output(
            {"rows": [row.reproduction.row for row in rows], "findings": [asdict(f) for f in findings]},
            json_file,
        )
    if json_file != "-":
        for finding in findings:
            print(f"{finding.row} ({finding.where}), {finding.strength}: {finding.sentence}")
        print(f"{len(findings)} findings in {len(rows)} rows, by {len(RULES)} rules")
    return 1 if findings else 0
