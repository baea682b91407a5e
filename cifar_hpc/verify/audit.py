"""The command `audit`: what the reports print, checked without training anything."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from cifar_hpc.collection.folder import Collection, chosen
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.errors import UserError
from cifar_hpc.output import counted, tell, write_json_output
from cifar_hpc.verify.claims_file import read_claims
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.forensics.logs import curves_are_their_own, seconds_per_epoch_agree
from cifar_hpc.verify.forensics.slips import explanations, odd
from cifar_hpc.verify.forensics.statements import read_statements
from cifar_hpc.verify.forensics.tables import METRIC_RULE_NAMES, ROW_RULES, answer, audit_row, not_judged
from cifar_hpc.verify.forensics.texts import TEXT_RULES
from cifar_hpc.verify.variants_file import mistakes_in_variants

REPORT_RULES = (seconds_per_epoch_agree, curves_are_their_own)
RULES = (*ROW_RULES, *REPORT_RULES, *TEXT_RULES)
"""All rules: on single rows, on the rows of a report, on what the texts state."""


def audit(
    collection: Collection, reports: Sequence[str] = (), explains: bool = True
) -> tuple[list[Finding], list[str]]:
    """Applies all rules to a collection, report by report; returns what they find and what is wrong in statements.yaml.

    Args:
        collection: whose rows and statements.
        reports: ids of reports; empty for all.
        explains: whether to look for the slips that would explain a finding, which takes longest.

    Raises:
        UserError: if there is no such report.
    """
    collection.check_reports(reports)
    rows = collection.rows
    statements, mistakes = read_statements(collection)
    of_report: dict[str, list[Row]] = {}
    for row in rows.values():
        of_report.setdefault(row.reproduction.report or "", []).append(row)
    found = [finding for row in rows.values() for finding in audit_row(row)]
    for own in of_report.values():
        found += [finding for rule_on_rows in REPORT_RULES for finding in rule_on_rows(own)]
    for rule in TEXT_RULES:
        found += rule(statements, rows)
    order = list(collection.reports)
    asked = [finding for finding in found if not reports or finding.report in reports]
    if explains:
        asked = [_explained(finding, rows, of_report) for finding in asked]
    return sorted(asked, key=lambda finding: order.index(finding.report)), mistakes


def _explained(finding: Finding, rows: Mapping[str, Row], of_report: dict[str, list[Row]]) -> Finding:
    """Adds the slips that would explain a finding on a row's metrics."""
    if finding.rule not in METRIC_RULE_NAMES or finding.row is None:
        return finding
    return replace(finding, explained_by=explanations(rows[finding.row], of_report[finding.report]))


def hints(rows: Sequence[Row], found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Finds what hardly an honest row shows, in rows whose numbers are possible: hints, and no findings."""
    broken = {finding.row for finding in found if finding.rule in METRIC_RULE_NAMES}
    return [
        {"report": row.reproduction.report, "row": row.reproduction.name, **asdict(slip)}
        for row in rows
        if row.reproduction.name not in broken
        for slip in odd(row)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `audit`."""
    parser.add_argument("report", metavar="REPORT", nargs="*", help="only these reports (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `audit`."""
    return command(arguments.report, arguments.json)


def command(reports: Sequence[str], json_file: str | None) -> int:
    """Prints the findings.

    Returns:
        0 when nothing was found, 1 otherwise.

    Raises:
        UserError: if there is no such report, or, after all else is audited, a file was wrong.
    """
    collection = chosen()
    found, mistakes = audit(collection, reports)
    problems = [*collection.problems, *mistakes, *read_claims(collection)[1], *mistakes_in_variants(collection)]
    rows = [row for row in collection.rows.values() if not reports or row.reproduction.report in reports]
    names = [row.reproduction.name for row in rows]
    hinted = hints(rows, found)
    skipped = {row.reproduction.name: why for row in rows if (why := not_judged(row))}
    if json_file is not None:
        content = {
            "rows": names,
            "problems": problems,
            "findings": [asdict(finding) for finding in found],
            "hints": hinted,
            "not_judged": skipped,
            "answers": [asdict(told) for row in rows if (told := answer(row, found))],
        }
        write_json_output(content, json_file)
    if json_file != "-":
        for finding in found:
            tell(f"{finding.row or finding.report} ({finding.where}), {finding.strength}: {finding.sentence}")
            for slip in finding.explained_by:
                tell(f"    would be explained by {slip.slip}: {slip.sentence}{_by_chance(slip.by_chance)}")
        for hint in hinted:
            tell(f"{hint['row']}, hint: {hint['slip']}: {hint['sentence']}{_by_chance(hint['by_chance'])}")
        for why in dict.fromkeys(skipped.values()):
            tell(f"{', '.join(name for name, told in skipped.items() if told == why)}: metrics are {why}")
        count = f"{counted(len(found), 'finding')} in {counted(len(names), 'row')}"
        tell(f"{count} and their reports' texts, by {len(RULES)} rules")
    if problems:
        raise UserError("\n".join(problems))
    return 1 if found else 0


def _by_chance(count: int) -> str:
    if not count:  # it was counted in none because it needs what no honest row shows
        return " (only rows that break a rule can show it)"
    return f" (fits {count} of 10,000 honest rows by chance)"
