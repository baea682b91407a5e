"""Gathers what the page shows: every printed number with its state, the evidence, the findings, the claims.

Plain data; nothing here knows how it is drawn or laid out.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.metrics import METRICS, SECONDS
from cifar_hpc.collection.reproduction import Report, Row
from cifar_hpc.collection.source import Source
from cifar_hpc.data.datasets import DATASETS
from cifar_hpc.errors import UserError
from cifar_hpc.records.predictions import FILE_NAME, read_predictions
from cifar_hpc.records.record import Record
from cifar_hpc.report.again import commands
from cifar_hpc.verify import claims
from cifar_hpc.verify.claims import JudgedClaim
from cifar_hpc.verify.forensics.finding import Finding, Strength
from cifar_hpc.verify.forensics.tables import not_judged
from cifar_hpc.verify.judge import RowVerdict, judge_row
from cifar_hpc.verify.reader import Found
from cifar_hpc.verify.recompute import confusion, has_predictions
from cifar_hpc.verify.verdicts import Judgement

NOT_RUN = "not yet run"
STATES = ("reproduced", "plausible", "above", "below", "inconclusive", "not comparable", NOT_RUN)
"""What can be said of a printed number: a verdict, or that no record decides its row."""

WORST_FIRST = ("below", "above", "inconclusive", "plausible", "reproduced", "not comparable", NOT_RUN)
"""States in the order in which a reader wants to see them."""


@dataclass(frozen=True)
class Number:
    """One number that a report's table prints.

    Attributes:
        metric: its key under `reproduction.reported`.
        reported: as printed, in percent or seconds.
        judgement: what the records say of it that decide the row; null where there are none.
        impossible: whether an impossible combination has it.
    """

    metric: str
    reported: float
    judgement: Judgement | None
    impossible: bool

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return self.judgement.verdict if self.judgement else NOT_RUN


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each other one, over all records of a group.

    Attributes:
        names: names of the classes.
        percent: shape (C, C), share of the true class' images; the row is the true class.
    """

    names: tuple[str, ...]
    percent: npt.NDArray[np.float64]

    def most_confused(self, count: int) -> list[tuple[str, str, float]]:
        """Finds the commonest mistakes: true class, predicted class, percent."""
        mistakes = self.percent - np.diag(self.percent.diagonal())
        largest = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        places = [divmod(int(place), len(self.names)) for place in largest]
        return [(self.names[i], self.names[j], float(mistakes[i, j])) for i, j in places if mistakes[i, j] > 0]


@dataclass(frozen=True)
class VerdictEvidence:
    """Records that were judged together.

    Attributes:
        verdict: the verdict on the row.
        records: the verdict's records.
        confusion: how often they confuse the classes; null where no predictions are kept.
        machines: what they ran on.
        commands: commands that would make them again, and judge them.
    """

    verdict: RowVerdict
    records: tuple[Record, ...]
    confusion: Confusion | None
    machines: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class RowSection:
    """All that is known of one row.

    Attributes:
        row: its file.
        numbers: numbers that the report prints for it.
        evidence: records that were judged together, those that decide it first.
        findings: findings about this row alone.
        collection: the collection whose row it is.
    """

    row: Row
    numbers: tuple[Number, ...]
    evidence: tuple[VerdictEvidence, ...]
    findings: tuple[Finding, ...]
    collection: Collection

    @property
    def is_decided(self) -> bool:
        """Whether there are records that decide the row."""
        return bool(self.evidence) and self.evidence[0].verdict.decides

    @property
    def state(self) -> str:
        """The worst state of its numbers."""
        return min((number.state for number in self.numbers), key=WORST_FIRST.index, default=NOT_RUN)

    @property
    def headline(self) -> Number | None:
        """The first number that is in that state: the table of all rows shows it."""
        return next((number for number in self.numbers if number.state == self.state), None)

    @property
    def impossible(self) -> int:
        """Findings that no measurement could change."""
        return sum(finding.strength == "impossible" for finding in self.findings)

    @property
    def first_command(self) -> str:
        """The command that would make the first evidence; empty where nothing can be trained."""
        return self.collection.command("fit", "-c", self.row.reproduction.name) if self.row.trains else ""


@dataclass(frozen=True)
class ReportSection:
    """All that is known of one report.

    Attributes:
        name: its id.
        report: title, authors and the like.
        rows: its rows in the order of their ids.
        findings: findings about several rows, or about the text.
        claims: its claims across rows, judged.
        refused: what is wrong with files of its rows, which are not among `rows`.
    """

    name: str
    report: Report
    rows: tuple[RowSection, ...]
    findings: tuple[Finding, ...]
    claims: tuple[JudgedClaim, ...]
    refused: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Numbers in each state."""
        return count_states(self.rows)

    @property
    def strengths(self) -> Counter[str]:
        """Findings of each strength."""
        return Counter(finding.strength for finding in self.all_findings)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Findings about the report and about its rows, strongest first."""
        found = (*self.findings, *(finding for row in self.rows for finding in row.findings))
        return tuple(sorted(found, key=lambda finding: get_args(Strength).index(finding.strength)))

    @property
    def unchecked(self) -> int:
        """Rows whose metrics are held against no test set."""
        return sum(bool(not_judged(section.row)) for section in self.rows)

    @property
    def badness(self) -> tuple[int, ...]:
        """What orders reports, worst last: what cannot be read, then impossible numbers, contradictions, verdicts."""
        counts, strengths = self.counts, self.strengths
        refuted = sum(claim.verdict in ("above", "below") for claim in self.claims)
        off = counts["above"] + counts["below"] + refuted
        contradicts, odd = strengths["contradicts"], strengths["unusual"]
        impossible, unlikely = strengths["impossible"], strengths["unlikely"]
        return len(self.refused), impossible, contradicts, unlikely, off, odd, -counts["reproduced"]


@dataclass(frozen=True)
class Recipe:
    """Runs of a recipe that is no row: nothing is reported, so nothing is judged.

    Attributes:
        name: name of the recipe.
        seeds: seeds of the runs.
        accuracies: accuracies of the runs on the test set, percent.
        fit_seconds: wall clock of the runs.
        machines: what they ran on.
    """

    name: str
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    fit_seconds: tuple[float, ...]
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """The whole page.

    Attributes:
        reports: the reports with their rows.
        recipes: runs of recipes that are no rows.
        problems: files that were left out, and why.
        collection: the collection whose reports these are.
    """

    reports: tuple[ReportSection, ...]
    recipes: tuple[Recipe, ...]
    problems: tuple[str, ...]
    collection: Collection

    @property
    def rows_worst_first(self) -> list[RowSection]:
        """Every row, in the order in which a reader wants to see them."""
        rows = [row for report in self.reports for row in report.rows]
        return sorted(rows, key=lambda row: (not row.is_decided, WORST_FIRST.index(row.state), -row.impossible))

    @property
    def worst_first(self) -> list[ReportSection]:
        """The reports, those of which most is wrong first."""
        return sorted(self.reports, key=lambda report: report.badness, reverse=True)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers in each state."""
        return count_states([row for report in self.reports for row in report.rows])

    @property
    def strengths(self) -> Counter[str]:
        """Findings of each strength."""
        return sum((report.strengths for report in self.reports), Counter())


def gather() -> Contents:
    """Reads every row, record, finding and claim."""
    everything = claims.judge_everything()
    records, collection = everything.found, everything.found.collection
    refused = _refused(everything.problems, collection)
    sections = []
    for name, report in collection.reports.items():
        own = [finding for finding in everything.findings if finding.report == name]
        rows = [row for row in collection.rows.values() if row.reproduction.report == name]
        sections.append(
            ReportSection(
                name,
                report,
                tuple(_row_section(row, records, own) for row in rows),
                tuple(finding for finding in own if finding.row is None),
                tuple(claim for claim in everything.claims if claim.report == name),
                refused.get(name, ()),
            )
        )
    return Contents(tuple(sections), _recipes(records.records), everything.problems, collection)


def _refused(problems: Sequence[str], collection: Collection) -> dict[str, tuple[str, ...]]:
    """Groups the problems with files of rows by the report that the file names, or else that its name begins with."""
    found: dict[str, list[str]] = {}
    for path in set(collection.row_files) - {row.path for row in collection.rows.values()}:
        named = _named_report(path)
        if named not in collection.reports:
            named = max((name for name in collection.reports if path.stem.startswith(f"{name}_")), key=len, default="")
        if named:
            told = [problem for problem in problems if problem.startswith(f"{path}:")]
            found.setdefault(named, []).extend(told or [f"{path} cannot be read"])
    return {name: tuple(sorted(told)) for name, told in found.items()}


def _named_report(path: Path) -> str:
    """Finds the report that a row's file names; empty if it names none or cannot be read."""
    with suppress(UserError):
        group = Source(path).content.get("reproduction")
        return str(group.get("report")) if isinstance(group, dict) else ""
    return ""


def count_states(rows: Sequence[RowSection]) -> dict[str, int]:
    """Counts the numbers in each state, of the rows that can be trained."""
    counted = Counter(number.state for row in rows if row.row.trains for number in row.numbers)
    return {state: counted[state] for state in STATES}


def _row_section(row: Row, records: Found, findings: Sequence[Finding]) -> RowSection:
    group = row.reproduction
    own = [finding for finding in findings if finding.row == group.row]
    of_row = records.evidence(row)
    verdicts = judge_row(group, of_row, records.records)
    deciding = next((verdict for verdict in verdicts if verdict.decides), None)
    impossible = {key for finding in own if finding.strength == "impossible" for key in finding.numbers}
    reported = {metric: getattr(group.reported, metric) for metric in (*METRICS, *SECONDS)}
    numbers = tuple(
        Number(metric, value, deciding.judgements.get(metric) if deciding else None, metric in impossible)
        for metric, value in reported.items()
        if value is not None
    )
    collection = records.collection
    evidence = tuple(
        _evidence(verdict, [r for r in of_row if str(r.path) in verdict.records], row, collection)
        for verdict in verdicts
    )
    return RowSection(row, numbers, evidence, tuple(own), collection)


def _evidence(verdict: RowVerdict, records: Sequence[Record], row: Row, collection: Collection) -> VerdictEvidence:
    again = commands(verdict, records, row, collection)
    return VerdictEvidence(verdict, tuple(records), _confusion(records), _machines(records), again)


def _confusion(records: Sequence[Record]) -> Confusion | None:
    kept = [record for record in records if has_predictions(record)]
    if not kept:
        return None
    dataset = DATASETS[kept[0].dataset.name]
    counts = np.zeros((dataset.classes, dataset.classes))
    for record in kept:
        predictions = read_predictions(record.path.with_name(FILE_NAME))
        counts += confusion(predictions.answers[record.answers], predictions.labels, dataset.classes)
    return Confusion(dataset.class_names, 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _machines(records: Sequence[Record]) -> tuple[str, ...]:
    """Lists what the records ran on, each machine once."""
    return tuple(dict.fromkeys(_machine(record) for record in records))


def _machine(record: Record) -> str:
    hardware = record.hardware
    device = hardware.gpu or f"{hardware.cpu}, {hardware.threads} threads"
    return f"{device}, precision {hardware.precision}, torch {record.software.get('torch', '?')}"


def _recipes(records: Sequence[Record]) -> tuple[Recipe, ...]:
    names = sorted({record.name for record in records if record.row is None})
    found = []
    for name in names:
        runs = [record for record in records if record.row is None and record.name == name]
        found.append(
            Recipe(
                name,
                tuple(run.seed for run in runs),
                tuple(100 * run.selection.last.test_accuracy for run in runs if run.selection.last is not None),
                tuple(run.time.fit_seconds for run in runs),
                _machines(runs),
            )
        )
    return tuple(found)
