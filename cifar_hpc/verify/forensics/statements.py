"""What the reports' texts state, as transcribed in reproductions/notes/statements.yaml.

Only what no row's file holds: numbers that are given again, which of two rows is said to be ahead, and speed-ups.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from cifar_hpc.collection import reproduction
from cifar_hpc.collection.reproduction import NO_NUMBERS, REPORTS, CurvePoint, Reported
from cifar_hpc.collection.typed_yaml import read_lists
from cifar_hpc.errors import UserError

Metric = Literal[
    "train_accuracy_percent",
    "test_accuracy_percent",
    "precision_percent",
    "recall_percent",
    "f1_percent",
    "training_seconds",
    "seconds",
]
"""A reported value, or `seconds`: those of an epoch, from the printed curve."""

WORDS = {
    "train_accuracy_percent": "training accuracy",
    "test_accuracy_percent": "test accuracy",
    "precision_percent": "precision",
    "recall_percent": "recall",
    "f1_percent": "F1",
    "training_seconds": "seconds of training",
    "training_hours": "hours of training",
    "seconds": "seconds per epoch",
    "epochs": "number of epochs",
}


@dataclass
class GivenAgain:
    """Numbers of a row that the report gives at a second place.

    Args:
        row: id.
        where: the second place.
        values: by name of the reported value; `training_hours` where the text counts hours.
        curve: a log or a column of a table that is printed again.
        approximate: whether the text says that they are approximate.
    """

    row: str
    where: str
    values: dict[str, float] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    approximate: bool = False


@dataclass
class Order:
    """A statement that one row is ahead of another.

    Args:
        report: which.
        where: place in the report.
        statement: as printed.
        metrics: in which the rows are compared.
        orders: each from the greatest to the least.
        kind: `above`, or `not below` where the text says that the first is no less than the second.
        by_points: by how many percentage points the first is said to be ahead; each order then names two rows.
        approximate: whether the text says that these are approximate.
    """

    report: str
    where: str
    statement: str
    metrics: list[Metric]
    orders: list[list[str]]
    kind: Literal["above", "not below"] = "above"
    by_points: float | None = None
    approximate: bool = False


@dataclass
class SpeedUp:
    """A stated ratio of times.

    Args:
        report: which.
        where: place in the report.
        statement: as printed.
        value: the slower's time divided by the faster's.
        compares: what with what; statements with the same text are about the same comparison.
        up_to: whether the value is said to be the greatest.
        in_words: whether it is a word such as "quarter", which is taken to cover all up to its neighbours.
        faster: id of a row whose training time is printed.
        slower: id of the other.
        approximate: whether the text says that the value is approximate.
    """

    report: str
    where: str
    statement: str
    value: float
    compares: str
    up_to: bool = False
    in_words: bool = False
    faster: str | None = None
    slower: str | None = None
    approximate: bool = False


@dataclass(frozen=True)
class Statements:
    """All that the texts state.

    Attributes:
        given_again: numbers given at a second place.
        orders: who is ahead of whom.
        speed_ups: stated ratios of times.
    """

    given_again: list[GivenAgain]
    orders: list[Order]
    speed_ups: list[SpeedUp]


def statements_file() -> Path:
    """Where they are kept."""
    return reproduction.reproductions_folder() / "notes" / "statements.yaml"


def read_statements(path: Path, rows: set[str]) -> Statements:
    """Reads and checks the file.

    Args:
        path: the YAML.
        rows: ids of all rows.

    Raises:
        UserError: if it is wrong; names the file and key.
    """
    found = Statements(**read_lists(path, {"given_again": GivenAgain, "orders": Order, "speed_ups": SpeedUp}))
    known_values = {f.name for f in fields(Reported)} - set(NO_NUMBERS) | {"training_hours"}
    for again in found.given_again:
        if wrong := sorted(set(again.values) - known_values):
            raise UserError(f"{path}: given_again.values of {again.row} has {wrong[0]}, which no row reports")
    for index, order in enumerate(found.orders):
        if order.by_points is not None and any(len(rows_) != 2 for rows_ in order.orders):
            raise UserError(f"{path}: orders[{index}] has by_points, so each of its orders must name two rows")
    reports = [(f"orders[{index}]", order.report) for index, order in enumerate(found.orders)]
    reports += [(f"speed_ups[{index}]", stated.report) for index, stated in enumerate(found.speed_ups)]
    for item, report in reports:
        if report not in REPORTS:
            raise UserError(f"{path}: {item}.report is {report}; it must be one of {', '.join(REPORTS)}")
    named = [again.row for again in found.given_again]
    named += [row for statement in found.orders for order in statement.orders for row in order]
    named += [row for s in found.speed_ups for row in (s.faster, s.slower) if row is not None]
    for row in named:
        if row not in rows:
            raise UserError(f"{path} names the row {row}, which does not exist; `rows` lists the ids")
    return found
