"""Makes rows with curves of lines that are the epochs of trainings."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from cifar_hpc.transcribe.found import FoundRow, listed
from cifar_hpc.transcribe.labels import Labels
from cifar_hpc.transcribe.printed import PrintedNumber
from cifar_hpc.transcribe.quantities import POINT_KEYS, ROW_KEYS
from cifar_hpc.transcribe.tables import Table

Digits = dict[str, dict[int, str]]
"""Digits by key and epoch."""

_STEP = re.compile(r"(?:trainer/)?(?:global[_ ])?(?:step|iter(?:ation)?|batch)s?", re.I)
"""The head of a column that numbers steps, beside which an epoch has several lines."""


class Curves:
    """Makes a row of each training.

    Args:
        path: path of the file, for messages.
        table: a table with a line for each epoch.
        keys: what each column is.
        cells: the numbers, by line and column, in our units.

    Attributes:
        faults: a sentence on each thing that is wrong.
        notes: what a reader should know.
    """

    def __init__(
        self, path: Path, table: Table, keys: Sequence[str | None], cells: Mapping[tuple[int, int], PrintedNumber]
    ) -> None:
        self.path, self.table, self.cells = path, table, cells
        self.at = keys.index("epoch")
        self.columns = {i: str(k) for i, k in enumerate(keys) if k not in (None, "epoch", "label", "ignore")}
        self.labels = Labels(table, [i for i, key in enumerate(keys) if key == "label"], merged=True)
        self.faults: list[str] = []
        self.notes = self.labels.notes
        self.several: dict[str, None] = {}

    def rows(self) -> list[FoundRow]:
        """Makes a row for each training that has a value."""
        groups: dict[str, list[int]] = defaultdict(list)
        nowhere = []
        for number, line in enumerate(self.table.lines):
            if (number, self.at) in self.cells:
                groups[self.labels.of(number)].append(number)
            else:
                nowhere.append(line.place)
        if nowhere:
            self.notes.append(f"without an epoch, and passed over: {listed(nowhere)}")
        found = [self._row(count, label, lines) for count, (label, lines) in enumerate(groups.items(), 1)]
        kept = [row for row in found if row.curve or row.reported.keys() - {"epochs", "runs", "std_percent"}]
        if self.several and not kept and not self.faults:
            names = " and ".join(self.several)
            self.faults.append(
                f"{self.path} has several values of {names} in one epoch, so none of them is the epoch's"
            )
        return kept

    def _row(self, count: int, label: str, numbers: Sequence[int]) -> FoundRow:
        lines = [self.table.lines[n] for n in numbers]
        first, last = lines[0].place, lines[-1].place.removeprefix("line ")
        place = first if len(lines) == 1 else f"{first.replace('line ', 'lines ', 1)} to {last}"
        row = FoundRow(count, label, place, "\n".join(line.text for line in lines), is_training=True)
        printed = self._epochs(label, numbers)
        if from_0 := min(printed.values()) == 0:
            self.notes.append("epochs are counted from 0 there, and from 1 in the rows")
        epochs = {n: epoch + from_0 for n, epoch in printed.items()}
        self._fill(row, self._values(epochs), max(epochs.values()), from_0)
        return row

    def _epochs(self, label: str, numbers: Sequence[int]) -> dict[int, int]:
        """Reads the epoch of each line as printed; tells of those that stand twice, and of an order that is none."""
        epochs = {n: int(Decimal(self.cells[n, self.at].digits)) for n in numbers}
        place = {n: self.table.lines[n].place for n in numbers}
        if behind := [(a, b) for a, b in pairwise(numbers) if epochs[b] < epochs[a]]:
            a, b = behind[0]
            told = f"epoch {epochs[b]} stands on {place[b]}, behind epoch {epochs[a]} on {place[a]}"
            self.notes.append(f"{told}, so the epochs are put in order")
        if self.table.is_log or any(map(_STEP.fullmatch, self.table.columns)):
            return epochs
        first: dict[tuple[int, int], int] = {}
        for n, column in ((n, column) for n in numbers for column in self.columns if (n, column) in self.cells):
            if (a := first.setdefault((epochs[n], column), n)) != n:
                self.faults.append(
                    f"{self.path}: epoch {epochs[n]}{f' of {label}' * bool(label)} stands on {place[a]} and again on "
                    f'{place[n]}; correct it, or name the column that tells trainings apart: --columns "NAME=label"'
                )
        return epochs

    def _values(self, epochs: Mapping[int, int]) -> Digits:
        """Collects the values of whole epochs, counted from 1."""
        values: Digits = {}
        for column, key in self.columns.items():
            own: dict[int, dict[str, None]] = defaultdict(dict)
            for n, epoch in epochs.items():
                if (n, column) in self.cells:
                    own[epoch][self.cells[n, column].digits] = None
            name = self.table.columns[column]
            if any(len(each) > 1 for each in own.values()):
                self.several[name] = None
                self.notes.append(f"{name} has several values in one epoch, so none of them is the epoch's")
            elif own:
                values[key] = {epoch: next(iter(each)) for epoch, each in own.items()}
        return values

    def _fill(self, row: FoundRow, values: Digits, last: int, from_0: bool) -> None:
        """Puts the values where a row has them: in its curve, or what is printed of the whole training beside it."""
        planned = self.table.planned_epochs
        complete = planned is None or last + from_0 >= planned
        self._take_once(row, values, last)
        of_epochs = sorted({epoch for each in values.values() for epoch in each})
        row.curve = [
            {"epoch": str(epoch), **{key: values[key][epoch] for key in POINT_KEYS if epoch in values.get(key, {})}}
            for epoch in of_epochs
        ]
        last = max(of_epochs, default=last)
        row.reported["epochs"] = str(last if complete else planned)
        if not complete:
            self.notes.append(
                f"the log is to have {planned} epochs and ends with {last}, so no value is the last epoch's"
            )
        final = row.curve[-1] if row.curve and complete else {}
        row.reported |= {k: final[k] for k in ROW_KEYS if k in final and k not in row.reported}
        row.reported = {key: row.reported[key] for key in ROW_KEYS if key in row.reported}

    def _take_once(self, row: FoundRow, values: Digits, last: int) -> None:
        """Moves what is of the training and not of one epoch: printed at its end, or without place in a curve."""
        for key in list(values):
            once = list(values[key]) == [last] and key.startswith("test_") and last > 1
            if key in POINT_KEYS and not once:
                continue
            digits = values.pop(key)
            if key in ROW_KEYS and last in digits:
                row.reported[key] = digits[last]
            elif any(last in each for name, each in values.items() if not name.startswith("test_")):
                values[key] = digits
            else:
                self.notes.append(
                    f"{key} {digits.get(last, '')} is not taken, as a row has a place for it only in an epoch"
                )
            if len(digits) > 1:
                self.notes.append(f"{key} is taken of the last epoch alone, as a curve has no place for it")
