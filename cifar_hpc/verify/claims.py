"""What the reports assert across rows, judged from records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ClaimVerdict = Literal[
    "reproduced", "above", "below", "inconclusive", "not comparable", "contradicted by its own report"
]


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
        measured: the same from records.
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


def judge_all(reports: Sequence[str] = ()) -> list[JudgedClaim]:
    """Judges every claim of these reports, in the order of claims.yaml.

    Args:
        reports: names of reports; empty for all.

    Raises:
        UserError: if there is no such report, or claims.yaml is wrong.
    """
    return []  # the claims come with the next commit
