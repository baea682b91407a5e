"""What a rule says when it is broken."""

from dataclasses import dataclass
from typing import Literal

Strength = Literal["impossible", "contradicts", "unusual"]


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
        strength: `impossible` by proof, `contradicts` another statement of the report, or `unusual`.
        rows: ids of all rows that it touches.
    """

    report: str
    row: str | None
    where: str
    rule: str
    numbers: dict[str, float]
    sentence: str
    strength: Strength
    rows: tuple[str, ...] = ()
