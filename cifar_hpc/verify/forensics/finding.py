"""What a rule says when it is broken."""

from dataclasses import dataclass
from typing import Literal

Strength = Literal["impossible", "contradicts", "unlikely", "unusual"]

Broken = tuple[dict[str, float], str, Strength]
"""What a rule finds: the numbers that disagree, the sentence, the strength."""


@dataclass(frozen=True)
class Slip:
    """A usual slip that would explain all printed digits of a row. A hint, never a finding by itself.

    Attributes:
        slip: which.
        sentence: what would have happened, with the numbers.
        by_chance: of 10,000 honest rows, how many would show it by chance (`make audit-study`).
    """

    slip: str
    sentence: str
    by_chance: int


@dataclass(frozen=True)
class Finding:
    """Something wrong in a report.

    Attributes:
        report: which.
        row: id of the row that it is about; null when it is about several, or about the text alone.
        where: place in the report, or both places.
        rule: name of the rule.
        numbers: the printed numbers that disagree; empty when words do.
        sentence: the rule and how the numbers break it.
        strength: `impossible` by proof, `contradicts` another statement of the report, `unlikely` in honest rows
            (at most one in a hundred of any habit), or `unusual`.
        rows: ids of all rows that it touches.
        reading: under which reading of the averages it is impossible; empty where that makes no difference.
        explained_by: usual slips that would explain all printed digits.
    """

    report: str
    row: str | None
    where: str
    rule: str
    numbers: dict[str, float]
    sentence: str
    strength: Strength
    rows: tuple[str, ...] = ()
    reading: str = ""
    explained_by: tuple[Slip, ...] = ()
