"""What rows are called: the cells of the label's columns, with merged ones filled from above."""

from collections import defaultdict
from collections.abc import Sequence

from cifar_hpc.transcribe.found import FoundRow, listed
from cifar_hpc.transcribe.printed import clean, is_blank, is_numeric
from cifar_hpc.transcribe.tables import Table

_DITTO = {'"', "''", "〃", "″", "do.", "ditto"}


class Labels:
    """The labels of a table's lines.

    Args:
        table: the table.
        columns: places of the label's columns, from 0.
        merged: whether an empty cell is the one above it even where there is one such column; of several it always is.

    Attributes:
        notes: what a reader should know of how they were found.
        cells: for each line what heads its group, then its cells in the label's columns.
    """

    def __init__(self, table: Table, columns: Sequence[int], merged: bool) -> None:
        self.table, self.columns, self.notes = table, columns, list[str]()
        self.cells: list[tuple[str, ...]] = []
        above = [""] * len(columns)
        filled = defaultdict(list)
        for line in table.lines:
            for place, column in enumerate(columns):
                text = clean(line.cells[column])
                if above[place] and (text.lower() in _DITTO or (not text and (merged or len(columns) > 1))):
                    filled[column].append(f"{line.place} ({above[place]})")
                else:
                    above[place] = text
            self.cells.append((line.group, *above))
        for column, places in filled.items():
            name = table.columns[column] or f"#{column + 1}"
            self.notes.append(f"empty cells of {name} are taken as merged and filled from above: {listed(places)}")

    def of(self, number: int) -> str:
        """Joins what the label's columns say of a line, a number with its column's name; empty if they say nothing."""
        group, *texts = self.cells[number]
        parts = [group] if group else []
        for column, text in zip(self.columns, texts, strict=True):
            name, bare = self.table.columns[column], is_numeric(text) and not any(c.isalpha() for c in text)
            if not is_blank(text):
                parts.append(f"{name} {text}" if name and bare else text)
        return ", ".join(parts)

    def of_row(self, number: int) -> str:
        """Finds the label of a row of its own: without one, the first cell under its head, else its number."""
        line, name = self.table.lines[number], self.table.columns[0]
        first = "" if self.columns or is_blank(line.cells[0]) else f"{name} {clean(line.cells[0])}".strip()
        label = self.of(number)
        if label == line.group:
            if not first:
                self.notes.append(f"{line.place} names no {self._names() or 'label'}, so it is called row {number + 1}")
            label = ", ".join(filter(None, (label, first or f"row {number + 1}")))
        return label

    def _names(self) -> str:
        return " and no ".join(filter(None, (self.table.columns[column] for column in self.columns)))


def repeated(rows: Sequence[FoundRow]) -> list[str]:
    """Makes a note on the labels that several rows have."""
    by_label = defaultdict(list)
    for row in rows:
        by_label[row.label].append(f"row {row.number}")
    told = [f"{label} ({listed(numbers)})" for label, numbers in by_label.items() if len(numbers) > 1]
    return [f"several rows have the same label: {listed(told)}"] * bool(told)
