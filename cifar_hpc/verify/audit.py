"""The command `audit`: what the reports print, checked without training anything."""

from collections.abc import Sequence
from dataclasses import asdict

from cifar_hpc.collection.folder import Collection, chosen
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.forensics.statements import read_statements
from cifar_hpc.verify.forensics.tables import ROW_RULES, audit_row, seconds_per_epoch_agree
from cifar_hpc.verify.forensics.texts import TEXT_RULES

RULES = (*ROW_RULES, seconds_per_epoch_agree, *TEXT_RULES)
"""All rules: on single rows, on rows of one configuration, on what the texts state."""


def audit(collection: Collection, reports: Sequence[str] = ()) -> tuple[list[Finding], list[str]]:
    """What all rules find in a collection, report by report, and what is wrong with its statements.

    Args:
        collection: whose rows and statements.
        reports: ids of reports; empty for all.

    Raises:
        UserError: if there is no such report.
    """
    collection.check_reports(reports)
    rows = collection.rows
    statements, mistakes = read_statements(collection)
    found = [finding for row in rows.values() for finding in audit_row(row)]
    for report in collection.reports:
        found += seconds_per_epoch_agree([row for row in rows.values() if row.reproduction.report == report])
    for rule in TEXT_RULES:
        found += rule(statements, rows)
    order = list(collection.reports)
    asked = [finding for finding in found if not reports or finding.report in reports]
    return sorted(asked, key=lambda finding: order.index(finding.report)), mistakes


def command(reports: Sequence[str], json_file: str | None) -> int:
    """Prints the findings.

    Returns:
        0 when nothing was found, 1 otherwise.

    Raises:
        UserError: if there is no such report, or, after all else is audited, a file was wrong.
    """
    collection = chosen()
    found, mistakes = audit(collection, reports)
    problems = [*collection.problems, *mistakes]
    names = [name for name, row in collection.rows.items() if not reports or row.reproduction.report in reports]
    if json_file is not None:
        content = {"rows": names, "problems": problems, "findings": [asdict(finding) for finding in found]}
        write_json_output(content, json_file)
    if json_file != "-":
        for finding in found:
            print(f"{finding.row or finding.report} ({finding.where}), {finding.strength}: {finding.sentence}")
        count = f"{len(found)} finding{'s' * (len(found) != 1)} in {len(names)} row{'s' * (len(names) != 1)}"
        print(f"{count} and their reports' texts, by {len(RULES)} rules")
    if problems:
        raise UserError("\n".join(problems))
    return 1 if found else 0
