"""Writes docs/durations.md: how long each row takes, computed from the records' times and never guessed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cifar_hpc.collection.reproduction import Row
from cifar_hpc.records.record import QUIET, Point, Record
from cifar_hpc.report.markdown import escape
from cifar_hpc.verify.reader import Found

_PAGE = """# How long each row takes

Generated from the records under `results/` by `make results`; run rows, do not edit this page.

An epoch is one of the row's on all its training images, with the evaluation after it: the median of the record's
epochs without the first, which warms up (where there is only one, that one). The whole row is as many of them as
the row trains. Of several records of a row the quickest on CPUs and the quickest on GPUs are taken. A row without a
record of its own takes the times of a row with the same network, optimiser, data and batch size. Rows that a rule ends
where their training is flat have the epochs that their record took, or without one the most that they may take.

{table}

A row without times needs one epoch to have them:

    python -m cifar_hpc fit -c ROW -c cpu --trainer.max_epochs 1
    python -m cifar_hpc rows --json -

`-c fast` instead of `-c cpu` takes bf16 where the processor or GPU has it. In the JSON `duration` stands under each
row, on a CPU where there is a record of one; it counts the records under `runs/` too, and this page those under
`results/` only.
"""


@dataclass(frozen=True)
class Duration:
    """How long a row takes on a machine where it was measured.

    Attributes:
        epoch_seconds: time of training and evaluation in one epoch.
        epochs: number of epochs of the row.
        measured_epochs: number of epochs whose median this is.
        row: id of the row whose record was measured.
        record: path of the record.
        machine: what it was measured on, in words.
        accelerator: what kind of device that is.
    """

    epoch_seconds: float
    epochs: int
    measured_epochs: int
    row: str
    record: str
    machine: str
    accelerator: str

    @property
    def row_seconds(self) -> float:
        """Seconds that the whole row takes."""
        return self.epoch_seconds * self.epochs


def accelerators(found: Found) -> list[str]:
    """Lists the kinds of devices of the records, `cpu` first; what one of them took says nothing about another."""
    return sorted(
        {record.hardware.accelerator for record in found.records} | {"cpu"}, key=lambda kind: (kind != "cpu", kind)
    )


def durations(rows: Sequence[Row], found: Found, accelerator: str | None = None) -> dict[str, Duration | None]:
    """Computes how long each row takes that trains anything, by its id; null where nothing was measured.

    Args:
        rows: all rows.
        found: the records.
        accelerator: a kind of device; null for the first of `accelerators` of which there is a record.
    """
    if accelerator is None:
        each = [durations(rows, found, one) for one in accelerators(found)]
        return {row: next(filter(None, (one[row] for one in each)), None) for row in each[0]}
    trained = [row for row in rows if row.trains]
    own = {
        row.reproduction.name: [r for r in _records(row, found) if r.hardware.accelerator == accelerator]
        for row in trained
    }
    answer: dict[str, Duration | None] = {}
    for row in trained:
        alike = [record for other in trained if _work(other) == _work(row) for record in own[other.reproduction.name]]
        answer[row.reproduction.name] = _quickest(row, own[row.reproduction.name] or alike)
    return answer


def _records(row: Row, found: Found) -> list[Record]:
    """Finds the records of whole epochs of this row, as it is."""
    whole = {"trainer.max_epochs"}
    return [r for r in found.of(row.reproduction.name) if set(r.changed_from_row) <= whole and _timed(r)]


def _work(row: Row) -> tuple[Any, ...]:
    """Picks what an epoch's time depends on, besides the machine."""
    model = row.config["model"]
    settings = {key: value for key, value in model.get("init_args", {}).items() if key != "scheduler"}
    return model["class_path"], settings, row.config["data"]


def _timed(record: Record) -> list[Point]:
    """Picks the epochs that count: without the first, which warms up, unless it is the only one."""
    return record.curve[1:] or record.curve


def _quickest(row: Row, records: Iterable[Record]) -> Duration | None:
    found = [_duration(row, record) for record in records]
    return min(found, key=lambda duration: duration.epoch_seconds, default=None)


def _duration(row: Row, record: Record) -> Duration:
    epochs = _timed(record)
    return Duration(
        median(point.train_seconds + point.eval_seconds for point in epochs),
        record.epochs_done if record.ended_by_rule else row.epochs,
        len(epochs),
        record.name,
        record.path.as_posix(),
        f"{record.hardware.device}, {record.hardware.precision}"
        + (", shared with others" if record.load > QUIET else ""),
        record.hardware.accelerator,
    )


def page(rows: Sequence[Row], found: Found) -> str:
    """Writes the whole page as Markdown: a line for each row and kind of device on which it was measured."""
    lines = ["| row | epochs × an epoch | the whole row | measured on | record |", "|---|---:|---:|---|---|"]
    each = [durations(rows, found, accelerator) for accelerator in accelerators(found)]
    for row in each[0]:
        measured = [duration for one in each if (duration := one[row]) is not None]
        lines += [_line(row, duration) for duration in measured] or [f"| `{row}` | | not yet measured | | |"]
    return _PAGE.format(table="\n".join(lines))


def _line(row: str, duration: Duration) -> str:
    measured = f"median of {duration.measured_epochs} epochs" if duration.measured_epochs > 1 else "one epoch"
    return (
        f"| `{row}` | {duration.epochs} × {duration.epoch_seconds:.1f} s | {in_words(duration.row_seconds)} | "
        f"{escape(duration.machine)} | {measured} of {'its own' if duration.row == row else f'`{duration.row}`'} |"
    )


def in_words(seconds: float) -> str:
    """Writes seconds in the unit that fits, with two digits or so."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"
