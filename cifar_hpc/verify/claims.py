"""The command `claims`: what the reports assert across rows, judged from records."""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal

from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.metrics import WORDS
from cifar_hpc.collection.reproduction import Reproduction, Row
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.verify import reader
from cifar_hpc.verify.audit import audit
from cifar_hpc.verify.claims_evidence import Evidence, Records, evidence, measured
from cifar_hpc.verify.claims_file import Claim, read_claims
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.leads import PRIORS, Lead, judge_ahead, judge_by, judge_up_to, lead
from cifar_hpc.verify.reader import Found

ClaimVerdict = Literal[
    "reproduced", "above", "below", "inconclusive", "not comparable", "contradicted by its own report"
]

MARGIN_OF_A_RATIO = 0.1
"""What counts as the same speed-up where a claim gives no margin of its own: within a factor of 1.1. The reports print
one run of each side, and two runs on a shared machine differ by about as much."""


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its verdict and what that rests on.

    Attributes:
        claim: id.
        report: which.
        where: place in the report.
        statement: as printed.
        quantity: what is compared, in words, with its unit.
        reported: the printed value, or the one that follows from the printed ones; null for a bare ranking.
        measured: the same from records: of the closest pair when there are several.
        interval: 95 % interval of the measured value.
        verdict: as for rows, and `contradicted by its own report` where `audit` says so.
        reason: why, in one sentence; empty where the numbers say it.
        rows: ids of the rows, or names of the recipes, that test it.
        commands: what would make the records, one command for each row.
        records: the files that were used.
    """

    claim: str
    report: str
    where: str
    statement: str
    quantity: str
    reported: float | None
    measured: float | None
    interval: tuple[float, float] | None
    verdict: ClaimVerdict
    reason: str
    rows: tuple[str, ...]
    commands: tuple[str, ...]
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Everything:
    """All that can be said of a collection without judging its rows.

    Attributes:
        found: records.
        findings: of `audit`.
        claims: judged, in the order of claims.yaml.
        problems: a sentence on each mistake in its files and records.
    """

    found: Found
    findings: tuple[Finding, ...]
    claims: tuple[JudgedClaim, ...]
    problems: tuple[str, ...]


def judge_everything(reports: Sequence[str] = ()) -> Everything:
    """Audits the chosen collection and judges its claims.

    Args:
        reports: ids of reports whose claims are judged; empty for all.

    Raises:
        UserError: if there is no such report.
    """
    found = reader.read_all()
    collection = found.collection
    collection.check_reports(reports)
    claims, mistakes = read_claims(collection)
    findings, others = audit(collection, explains=False)
    problems = [*collection.problems, *others, *mistakes, *found.problems]
    judged = []

    def records(claim: Claim) -> Records:
        """Picks the records for a claim: seconds are the row's own, accuracies those of its whole experiment."""
        rows = {} if claim.is_time else collection.rows
        return {name: found.evidence(rows[name]) if name in rows else found.of(name) for name in claim.rows}

    for claim in claims:
        if not reports or claim.report in reports:
            try:
                judged.append(judge_claim(claim, records(claim), findings, collection))
            except UserError as error:
                problems.append(str(error))
    return Everything(found, tuple(findings), tuple(judged), tuple(problems))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `claims`."""
    parser.add_argument("report", metavar="REPORT", nargs="*", help="only these reports (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `claims`."""
    return command(arguments.report, arguments.json)


def command(reports: Sequence[str], json_file: str | None) -> int:
    """Prints the claims with their verdicts.

    Returns:
        1 when a claim fails or its own report contradicts it, 0 when some hold and none fails, 3 when nothing is
        decided.

    Raises:
        UserError: if there is no such report, or, after all else is judged, a file or a record was wrong.
    """
    everything = judge_everything(reports)
    judged, problems = everything.claims, everything.problems
    status = 2 if problems else claims_status(judged)
    if json_file is not None:
        content = {"exit_status": status, "problems": problems, "claims": [asdict(claim) for claim in judged]}
        write_json_output(content, json_file)
    if json_file != "-":
        for claim in judged:
            tell(as_text(claim))
        counts = Counter(claim.verdict for claim in judged)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        tell(f"{len(judged)} claims: {told or f'none is in claims.yaml of {everything.found.collection.folder}'}")
    if problems:
        raise UserError("\n".join(problems))
    return status


def claims_status(judged: Sequence[JudgedClaim]) -> int:
    """Returns 1 when some claim is refuted, 0 when some are confirmed and none refuted, 3 when nothing is decided."""
    verdicts = {claim.verdict for claim in judged}
    if verdicts & {"above", "below", "contradicted by its own report"}:
        return 1
    return 0 if "reproduced" in verdicts else 3


def as_text(judged: JudgedClaim) -> str:
    """Formats a claim for a terminal."""
    lines = [f"{judged.claim}: {judged.verdict}", f"  {judged.where}: {judged.statement}"]
    reported = "" if judged.reported is None else f"reported {judged.reported:.3g}"
    found = "" if judged.measured is None else f"measured {judged.measured:.3g}"
    if judged.interval is not None:
        found += f" ({judged.interval[0]:.3g} to {judged.interval[1]:.3g})"
    if reported or found:
        lines.append(f"  {judged.quantity}: {', '.join(filter(None, (reported, found)))}")
    if judged.reason:
        lines.append(f"  {judged.reason}")
    if judged.measured is None:
        lines += [f"    {line}" for line in judged.commands]
    return "\n".join(lines) + "\n"


def judge_claim(claim: Claim, records: Records, findings: Sequence[Finding], collection: Collection) -> JudgedClaim:
    """Judges one claim.

    Args:
        claim: to be judged.
        records: finished ones, by row or recipe.
        findings: of `audit`.
        collection: whose claim it is.

    Raises:
        UserError: if nothing is reported of a claim that says by how much, or if the claim is said to be
            contradicted by a finding that `audit` does not make.
    """
    rows, reported = collection.rows, claim.reported
    if reported is None and claim.contradicted_by is None:
        reported = printed_lead(claim, rows)
    if reported is None and claim.says in ("by", "up to"):
        raise UserError(f"{claim.place}: the claim {claim.id} says {claim.says!r}, but the report prints no value")
    untrained = [name for name in claim.rows if name in rows and not rows[name].trains]
    found = (
        Evidence({}, f"{', '.join(untrained)} can only be audited: there is no experiment to run")
        if untrained
        else evidence(claim, records, rows[claim.base] if claim.base else None)
    )
    verdict: ClaimVerdict
    closest: Lead | None = None
    if found.records:
        values = {name: measured(claim, found.records[name], _epochs(name, collection)) for name in claim.rows}
        pairs = list(product(claim.ahead, claim.behind))
        prior = PRIORS["log seconds" if claim.is_time else "points"]
        leads = [lead(values[first], values[second], prior, len(pairs)) for first, second in pairs]
        closest = min(leads, key=lambda one: one.value)
        verdict = _verdict(claim, leads, reported or 0.0, rows)
        reason = "more runs of each row would narrow the interval" if verdict == "inconclusive" else ""
    else:
        verdict, reason = ("inconclusive" if found.missing else "not comparable"), found.reason
    if claim.contradicted_by is not None:
        verdict, reason = "contradicted by its own report", contradiction(claim, findings).sentence
    scale, words = math.exp if claim.is_time else float, WORDS[claim.quantity]
    return JudgedClaim(
        claim=claim.id,
        report=claim.report,
        where=claim.where,
        statement=claim.statement,
        quantity=f"ratio of {words}" if claim.is_time else f"lead in {words}, points",
        reported=reported,
        measured=None if closest is None else scale(closest.value),
        interval=None if closest is None else (scale(closest.low), scale(closest.high)),
        verdict=verdict,
        reason=reason,
        rows=claim.rows,
        commands=tuple(_fit_command(name, claim.base, collection) for name in claim.rows if name not in untrained),
        records=tuple(str(record.path) for name in found.records for record in found.records[name]),
    )


def _verdict(claim: Claim, leads: list[Lead], reported: float, rows: dict[str, Row]) -> ClaimVerdict:
    """Judges a claim by the leads that were measured."""
    if claim.says == "ahead":
        return judge_ahead(leads)
    if claim.says == "not behind":
        return judge_ahead(leads, least=-_margin(claim, rows))
    rule = judge_by if claim.says == "by" else judge_up_to
    return rule(leads[0], math.log(reported) if claim.is_time else reported, _margin(claim, rows))


def _margin(claim: Claim, rows: dict[str, Row]) -> float:
    """Returns what counts as the same, on the scale of the leads: the claim's own, else the default or the row's."""
    if claim.is_time:
        return math.log(1 + (claim.margin or MARGIN_OF_A_RATIO))
    row = rows.get(claim.behind[0])
    return claim.margin or (row.reproduction if row else Reproduction()).margin_percent


def _epochs(name: str, collection: Collection) -> int:
    """Returns the number of epochs that a row or recipe trains."""
    row = collection.rows.get(name)
    config = row.config if row else read_yaml(collection.recipes[name])
    return int(config.get("trainer", {}).get("max_epochs", 1))


def _fit_command(name: str, base: str | None, collection: Collection) -> str:
    """Writes the command that makes a record of the row, or of the recipe added to its base."""
    return collection.command("fit", *(word for part in (base, name) if part for word in ("-c", part)))


def contradiction(claim: Claim, findings: Sequence[Finding]) -> Finding:
    """Picks the finding that refutes the claim.

    Raises:
        UserError: if `audit` finds no such thing.
    """
    assert claim.contradicted_by is not None
    for finding in findings:
        same = (finding.report, finding.rule) == (claim.report, claim.contradicted_by.rule)
        if same and set(claim.contradicted_by.numbers) == set(finding.numbers.values()):
            return finding
    raise UserError(
        f"{claim.place}: the claim {claim.id} is contradicted by {claim.contradicted_by.rule} with "
        f"{claim.contradicted_by.numbers}, but `audit {claim.report}` finds no such thing"
    )


def printed_lead(claim: Claim, rows: dict[str, Row]) -> float | None:
    """Computes the closest pair's lead from what the report prints of the rows; null where it is silent."""
    leads = []
    for first, second in product(claim.ahead, claim.behind):
        a, b = (_printed(claim, rows[name]) if name in rows else None for name in (first, second))
        if a is None or b is None:
            return None
        leads.append(b / a if claim.is_time else a - b)
    return min(leads)


def _printed(claim: Claim, row: Row) -> float | None:
    """Returns the row's printed value: seconds (of an epoch, or of the training) or percent."""
    reported = row.reproduction.reported
    if not claim.is_time:
        curve = {point.epoch: getattr(point, claim.quantity) for point in reported.curve}
        value: float | None = getattr(reported, claim.quantity) if claim.epoch is None else curve.get(claim.epoch)
        return value
    if claim.quantity == "training_seconds":
        return reported.training_seconds
    if reported.seconds_per_epoch is not None:
        return reported.seconds_per_epoch
    if reported.training_seconds is not None and reported.epochs is not None:
        return reported.training_seconds / reported.epochs
    seconds = [point.seconds for point in reported.curve if point.seconds is not None]
    return math.fsum(seconds) / len(seconds) if seconds else None
