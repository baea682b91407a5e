"""What a user says of a table, and what was found in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

MOST_TOLD = 30
"""Lines, notes or faults of which each is printed; more are counted."""


@dataclass(frozen=True)
class Choices:
    """What the user said of a table.

    Attributes:
        columns: the key of a column, by its name or #number.
        units: percent or fraction, by column; under the empty name for all columns of which it is not certain.
        decimal: what stands before decimals.
        kind: whether its lines are rows or epochs.
        runs: number of runs over which the report takes its means.
        brackets: what a number in brackets behind another is: its standard deviation, or nothing that is taken.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    decimal: Literal["point", "comma"] | None = None
    kind: Literal["rows", "curve"] | None = None
    runs: int | None = None
    brackets: Literal["std", "ignore"] | None = None


@dataclass
class FoundRow:
    """A row as the table has it.

    Attributes:
        number: number of the line in the table, or of the training in the log, from 1.
        label: what the table calls it; empty where it does not.
        place: place of its lines in the file.
        text: its lines as printed.
        reported: digits by key.
        averages: macro, weighted or micro, where the head says so.
        curve: digits by key of each epoch, in order.
        is_training: whether the table or log is of this training's epochs.
        test_set: the group `test_set`, where the table counts the images; null where it does not.
    """

    number: int
    label: str
    place: str
    text: str
    reported: dict[str, str] = field(default_factory=dict)
    averages: str = ""
    curve: list[dict[str, str]] = field(default_factory=list)
    is_training: bool = False
    test_set: dict[str, Any] | None = None


def listed(items: Iterable[str]) -> str:
    """Lists items parted by commas; of more than five the first, and how many more there are."""
    every = list(dict.fromkeys(items))
    return ", ".join(every[:5]) + f" and {len(every) - 5} more" * (len(every) > 5)


def summed_up(lines: Sequence[str], what: str) -> list[str]:
    """Shortens lines to print: of very many it keeps the first, and says how many more there are.

    Args:
        lines: all of them.
        what: what they are, in words behind their number.
    """
    told = list(islice(lines, MOST_TOLD))
    return told + [f"and {len(lines) - MOST_TOLD:,} more {what}"] * (len(lines) > MOST_TOLD)
