"""Rules on what a report's text states: against its tables, and against itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from cifar_hpc.collection.reproduction import CurvePoint, Row
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.forensics.printed import bounds, differ
from cifar_hpc.verify.forensics.statements import WORDS, GivenAgain, Metric, Order, SpeedUp, Statements

Rows = Mapping[str, Row]
"""All rows by id."""

APPROXIMATELY = 0.25
"""A time or a ratio that is called approximate may be off by this share of it."""

APPROXIMATELY_POINTS = 2.5
"""An accuracy that is called approximate may be off by this many percentage points, as if rounded to the next five."""


def numbers_given_twice_agree(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that a number which is given twice is the same number, within the digits printed."""
    for again in statements.given_again:
        for name, first, second in _pairs(again, rows[again.row]):
            if not differ(bounds(first), _bounds_again(name, second, again)):
                continue
            group = rows[again.row].reproduction
            yield Finding(
                report=group.report or "",
                row=group.name,
                where=f"{group.where}; {again.where}",
                rule=numbers_given_twice_agree.__name__,
                numbers={f"{name} ({group.where})": first, f"{name} ({again.where})": second},
                sentence=f"a number given twice must be the same, but the {WORDS.get(name, name)} of {group.label} is "
                f"{first:g} in {group.where} and {second:g} in {again.where}",
                strength="contradicts",
                rows=(group.name,),
            )


def _pairs(again: GivenAgain, row: Row) -> Iterator[tuple[str, float, float]]:
    """Yields name, first and second value of each number that is given twice."""
    reported = row.reproduction.reported
    for name, second in again.values.items():
        if name == "training_hours":
            first = None if reported.training_seconds is None else reported.training_seconds / 3600
        else:
            first = getattr(reported, name)
        if first is not None:
            yield name, first, second
    printed = {point.epoch: point for point in reported.curve}
    for point in again.curve:
        for name, second in vars(point).items():
            first = getattr(printed.get(point.epoch), name, None)
            if name != "epoch" and first is not None and second is not None:
                yield f"{name}_of_epoch_{point.epoch}", first, second


def _bounds_again(name: str, printed: float, again: GivenAgain) -> tuple[float, float]:
    return _about(printed, "percent" in name) if again.approximate else bounds(printed)


def _about(printed: float, in_points: bool) -> tuple[float, float]:
    """Bounds a number that is called approximate."""
    if in_points:
        return printed - APPROXIMATELY_POINTS, printed + APPROXIMATELY_POINTS
    return printed * (1 - APPROXIMATELY), printed * (1 + APPROXIMATELY)


@dataclass(frozen=True)
class _Value:
    """A printed value of a row, with what its digits leave open."""

    printed: float
    low: float
    high: float


@dataclass(frozen=True)
class _Reading:
    """One way to compare rows: their values, and where these are read off."""

    at: str
    values: dict[str, _Value]


def text_and_table_agree(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that a text which puts one row ahead of another is not refuted by the numbers.

    Rows with printed curves are compared at the last epoch that both reach and at the best up to there: only
    when both refute the text does the rule speak. Others are compared by their one number; one that is given
    in the same place as the statement comes before the table's. "Not below" is refuted when the first is below the
    second by more than the second's margin, within which accuracies count as the same.
    """
    for statement in statements.orders:
        for metric in statement.metrics:
            for order in statement.orders:
                readings = _readings(order, metric, statement.where, statements, rows)
                refuted = [
                    (first, second)
                    for first, second in combinations(order, 2)
                    if all(_refutes(r, first, second, statement, metric, rows) for r in readings)
                ]
                if refuted:
                    yield _refuted(statement, metric, refuted, readings[0], rows)


def _refutes(reading: _Reading, first: str, second: str, statement: Order, metric: Metric, rows: Rows) -> bool:
    """Checks whether these values put the second above the first, whatever the digits that are not printed."""
    if first not in reading.values or second not in reading.values:
        return False
    equal = metric.endswith("_percent") and statement.kind == "not below"
    slack = rows[second].reproduction.margin_percent if equal else 0.0
    return reading.values[first].high + slack < reading.values[second].low


def _refuted(statement: Order, metric: Metric, pairs: list[tuple[str, str]], reading: _Reading, rows: Rows) -> Finding:
    named = tuple(dict.fromkeys(row for pair in pairs for row in pair))
    label = {row: f"{rows[row].reproduction.label} ({reading.values[row].printed:g})" for row in named}
    said = "; ".join(f"{label[first]} {statement.kind} {label[second]}" for first, second in pairs)
    return Finding(
        report=statement.report,
        row=None,
        where=statement.where,
        rule=text_and_table_agree.__name__,
        numbers={row: reading.values[row].printed for row in named},
        sentence=f"a text must not say the opposite of its numbers, but in {WORDS[metric]}{reading.at} it puts {said}",
        strength="contradicts",
        rows=named,
    )


def _readings(order: list[str], metric: Metric, where: str, statements: Statements, rows: Rows) -> list[_Reading]:
    """Collects the rows' values: at the last common epoch and at the best when all have curves, else one of each."""
    curves = {row: _curve(rows[row].reproduction.reported.curve, metric) for row in order}
    common = set.intersection(*(set(curve) for curve in curves.values()))
    if common:
        best = min if metric == "seconds" else max
        return [
            _Reading(f" at epoch {max(common)}", {row: _value(curve[max(common)]) for row, curve in curves.items()}),
            _Reading(" at best", {row: _value(best(curve[e] for e in common)) for row, curve in curves.items()}),
        ]
    values = {row: _stated(row, metric, where, statements) or _reported(rows[row], metric) for row in order}
    return [_Reading("", {row: value for row, value in values.items() if value is not None})]


def _curve(curve: list[CurvePoint], metric: Metric) -> dict[int, float]:
    return {p.epoch: value for p in curve if (value := getattr(p, metric, None)) is not None}


def _value(printed: float) -> _Value:
    return _Value(printed, *bounds(printed))


def _reported(row: Row, metric: Metric) -> _Value | None:
    printed = getattr(row.reproduction.reported, metric, None)
    return None if printed is None else _value(printed)


def _stated(row: str, metric: Metric, where: str, statements: Statements) -> _Value | None:
    """Looks up the row's number that is given in this place."""
    for again in statements.given_again:
        if (again.row, again.where) != (row, where):
            continue
        if metric in again.values:
            return _Value(again.values[metric], *_bounds_again(metric, again.values[metric], again))
        if metric == "training_seconds" and "training_hours" in again.values:
            hours = again.values["training_hours"]
            low, high = _bounds_again("training_hours", hours, again)
            return _Value(3600 * hours, 3600 * low, 3600 * high)
    return None


def orders_agree(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that a report does not put one row above another in one place and below it in another."""
    said = [
        (metric, first, second, statement)
        for statement in statements.orders
        if statement.kind == "above"
        for metric in statement.metrics
        for order in statement.orders
        for first, second in combinations(order, 2)
    ]
    for (metric, first, second, one), (metric2, first2, second2, other) in combinations(said, 2):
        if metric != metric2 or (first, second) != (second2, first2):
            continue
        printed = {row: _reported(rows[row], metric) for row in (first, second)}
        labels = [rows[row].reproduction.label for row in (first, second)]
        yield Finding(
            report=one.report,
            row=None,
            where=f"{one.where}; {other.where}",
            rule=orders_agree.__name__,
            numbers={row: value.printed for row, value in printed.items() if value is not None},
            sentence=f"a report must not order two rows both ways, but {one.where} puts {labels[0]} above {labels[1]} "
            f"in {WORDS[metric]}, and {other.where} puts it below",
            strength="contradicts",
            rows=(first, second),
        )


def stated_speed_up_follows(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that a stated speed-up is the ratio of the stated times, within the digits printed.

    With times a and b known to lie in [a1, a2] and [b1, b2], the ratio a / b lies in [a1 / b2, a2 / b1].
    """
    for statement in statements.speed_ups:
        if statement.faster is None or statement.slower is None:
            continue
        slower, faster = (_reported(rows[row], "training_seconds") for row in (statement.slower, statement.faster))
        if slower is None or faster is None:
            continue
        ratio = slower.printed / faster.printed
        if differ((slower.low / faster.high, slower.high / faster.low), _bounds_of_ratio(statement)):
            yield Finding(
                report=statement.report,
                row=None,
                where=statement.where,
                rule=stated_speed_up_follows.__name__,
                numbers={"stated": statement.value, "slower": slower.printed, "faster": faster.printed},
                sentence=f"a speed-up must follow from the times, but {statement.value:g} is stated and "
                f"{slower.printed:g} s are {ratio:.3g} times {faster.printed:g} s",
                strength="contradicts",
                rows=(statement.slower, statement.faster),
            )


def _bounds_of_ratio(statement: SpeedUp) -> tuple[float, float]:
    if statement.approximate:
        low, high = _about(statement.value, in_points=False)
        return (0.0, high) if statement.up_to else (low, high)
    if statement.in_words:
        return statement.value - 1, statement.value + 1
    return (0.0, statement.value) if statement.up_to else bounds(statement.value)


def nothing_exceeds_up_to(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that no case of the same comparison exceeds x where a text says "up to x".

    A greatest value may be rounded up; rounded down it is not the greatest.
    """
    for bound in statements.speed_ups:
        for other in statements.speed_ups:
            same = (bound.report, bound.compares) == (other.report, other.compares)
            most = _about(bound.value, in_points=False)[1] if bound.approximate else bound.value
            if bound.up_to and same and bounds(other.value)[0] > most:
                yield Finding(
                    report=bound.report,
                    row=None,
                    where=f"{bound.where}; {other.where}",
                    rule=nothing_exceeds_up_to.__name__,
                    numbers={bound.where: bound.value, other.where: other.value},
                    sentence=f"nothing may exceed what it is said to go up to, but {bound.where} says up to "
                    f"{bound.value:g} times and {other.where} {other.value:g}, for {bound.compares}",
                    strength="contradicts",
                    rows=tuple(row for row in (other.slower, other.faster) if row is not None),
                )


def stated_lead_follows(statements: Statements, rows: Rows) -> Iterator[Finding]:
    """Checks that a lead in points is the difference of the printed accuracies, within the digits printed.

    Rows with curves are compared at the last common epoch and at best, as in `text_and_table_agree`. A lead in
    percent is often a ratio: 88 is 10 % better than 80, and 8 points. One of both must hold.
    """
    for statement in statements.orders:
        if statement.by_points is None:
            continue
        stated = _about(statement.by_points, True) if statement.approximate else bounds(statement.by_points)
        for metric in statement.metrics:
            for first, second in statement.orders:
                readings = _readings([first, second], metric, statement.where, statements, rows)
                found = [(r.values[first], r.values[second]) for r in readings if len(r.values) == 2]
                if found and not any(_leads_by(a, b, stated) for a, b in found):
                    yield _not_by(statement, metric, first, second, found[0], rows)


def _leads_by(first: _Value, second: _Value, stated: tuple[float, float]) -> bool:
    points = first.low - second.high, first.high - second.low
    percent = [100 * (a / b - 1) for a, b in ((first.low, second.high), (first.high, second.low)) if b > 0]
    return not differ(points, stated) or (len(percent) == 2 and not differ((percent[0], percent[1]), stated))


def _not_by(
    statement: Order, metric: Metric, first: str, second: str, values: tuple[_Value, _Value], rows: Rows
) -> Finding:
    a, b = values
    labels = [rows[row].reproduction.label for row in (first, second)]
    return Finding(
        report=statement.report,
        row=None,
        where=statement.where,
        rule=stated_lead_follows.__name__,
        numbers={"stated": statement.by_points or 0.0, first: a.printed, second: b.printed},
        sentence=f"a lead must follow from the numbers, but in {WORDS[metric]} {labels[0]} is said to be ahead of "
        f"{labels[1]} by {statement.by_points:g} points, and {a.printed:g} is {a.printed - b.printed:.4g} more than "
        f"{b.printed:g}",
        strength="contradicts",
        rows=(first, second),
    )


TEXT_RULES: tuple[Callable[[Statements, Rows], Iterator[Finding]], ...] = (
    numbers_given_twice_agree,
    text_and_table_agree,
    orders_agree,
    stated_speed_up_follows,
    stated_lead_follows,
    nothing_exceeds_up_to,
)
