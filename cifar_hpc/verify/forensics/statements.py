"""What the reports' texts state, as transcribed in the collection's statements.yaml.

Only what no row's file holds: numbers that are given again, which of two rows is said to be ahead, and speed-ups.
"""

from dataclasses import dataclass, field, fields
from typing import Literal

from cifar_hpc.collection import metrics
from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.reproduction import NO_NUMBERS, CurvePoint, Reported
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys, name_of
from cifar_hpc.collection.typed_yaml import knows_report, knows_rows, read_lists

Metric = Literal[
    "train_accuracy_percent",
    "test_accuracy_percent",
    "precision_percent",
    "recall_percent",
    "f1_percent",
    "validation_accuracy_percent",
    "top5_accuracy_percent",
    "error_percent",
    "training_seconds",
    "seconds_per_epoch",
    "seconds",
]
"""A reported value, or `seconds`: those of an epoch, from the printed curve."""

WORDS = metrics.WORDS | {
    "training_hours": "training hours",
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


def read_statements(collection: Collection) -> tuple[Statements, list[str]]:
    """Reads and checks a collection's statements.yaml, which it need not have.

    Args:
        collection: whose.

    Returns:
        The sound statements, and a sentence on each mistake.
    """

    def check(source: Source, keys: Keys, item: GivenAgain | Order | SpeedUp) -> bool:
        if isinstance(item, GivenAgain):
            rows, unknown = [item.row], item.values.keys() - _VALUES
            for name in unknown:
                source.refuse((*keys, "values", name), f"{name_of(keys)}.values has {name}, which no row reports")
            return knows_rows(collection, source, keys, rows) and not unknown
        if isinstance(item, Order):
            rows = [row for order in item.orders for row in order]
            if item.by_points is not None and any(len(order) != 2 for order in item.orders):
                source.refuse(keys, f"{name_of(keys)} has by_points, so each of its orders must name two rows")
                return False
        else:
            rows = [row for row in (item.faster, item.slower) if row is not None]
        return knows_rows(collection, source, keys, rows) & knows_report(collection, source, keys, item.report)

    found, mistakes = read_lists(
        collection.folder / "statements.yaml", {"given_again": GivenAgain, "orders": Order, "speed_ups": SpeedUp}, check
    )
    return Statements(**found), mistakes


_VALUES = {f.name for f in fields(Reported)} - set(NO_NUMBERS) | {"training_hours"}
