"""Makes rows and curves of a table's cells: which column is what, in which unit, and what is not certain."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from cifar_hpc.errors import UserError
from cifar_hpc.transcribe.printed import (
    Printed,
    UnreadableError,
    clean,
    in_seconds,
    is_blank,
    is_numeric,
    read,
    shift,
    takes_decimal_comma,
)
from cifar_hpc.transcribe.quantities import OTHER_KEYS, POINT_KEYS, ROW_KEYS, meaning, point_key, row_key
from cifar_hpc.transcribe.tables import Line, Table

_TIMES = ("training_seconds", "seconds_per_epoch", "seconds")
_COUNTS = ("epochs", "epoch", "runs")
_BY_CLASS = ("macro avg", "weighted avg", "micro avg")


@dataclass(frozen=True)
class Choices:
    """What the user said of a table.

    Attributes:
        columns: the key of a column, by its name or #number.
        units: percent or fraction, by column; under the empty name for all columns of which it is not certain.
        decimal: what stands before decimals.
        kind: whether its lines are rows or epochs.
        runs: over how many the report takes its means.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    decimal: Literal["point", "comma"] | None = None
    kind: Literal["rows", "curve"] | None = None
    runs: int | None = None


@dataclass
class FoundRow:
    """A row as the table has it.

    Attributes:
        number: of the line in the table, or of the training in the log, from 1.
        label: what the table calls it.
        place: of its lines in the file.
        text: its lines as printed.
        reported: digits by key.
        averages: macro, weighted or micro, where the head says so.
        curve: digits by key of each epoch, in order.
        is_training: whether the table or log is of this training's epochs.
    """

    number: int
    label: str
    place: str
    text: str
    reported: dict[str, str] = field(default_factory=dict)
    averages: str = ""
    curve: list[dict[str, str]] = field(default_factory=list)
    is_training: bool = False


class Reading:
    """Reads one table; gathers what is wrong with it, and what a reader should know.

    Args:
        path: of the file, for messages.
        table: its cells.
        choices: of the user.
    """

    def __init__(self, path: Path, table: Table, choices: Choices) -> None:
        self.path, self.table, self.choices = path, table, choices
        self.faults: list[str] = []
        self.open: list[str] = []  # columns that may be in percent or not
        self.notes = list(table.notes)
        self.meanings = [meaning(name) for name in table.columns]
        self.keys: list[str | None] = [None] * len(table.columns)

    def rows(self) -> list[FoundRow]:
        """The rows.

        Raises:
            UserError: one sentence, on a line of its own, on each thing that is wrong or that only the user can say.
        """
        given = self._given()
        self.is_curve = self._is_curve(given)
        self._choose_keys(given)
        self._check()
        cells = self._cells()
        if self.open:
            self.faults.append(
                f"{self.path}: {', '.join(self.open)} may be in percent or fractions of 1, as no value is above 1; add "
                "--unit percent or --unit fraction (--unit NAME=fraction for one column)"
            )
        self._check()
        found = self._curves(cells) if self.is_curve else self._lines(cells)
        self._check()
        if not found:
            raise UserError(f"{self.path} prints no number under {self._known()}")
        return found

    def _check(self) -> None:
        if self.faults:
            raise UserError("\n".join(dict.fromkeys(self.faults)))

    def _given(self) -> dict[int, str]:
        """The keys that the user gives, by column."""
        given, known = {}, (*ROW_KEYS, *POINT_KEYS, *OTHER_KEYS)
        for name, key in self.choices.columns.items():
            if key not in known:
                self.faults.append(f'--columns "{name}={key}": a column may be {", ".join(dict.fromkeys(known))}')
            for column in self._named(name, "--columns"):
                given[column] = key
        self._check()
        return given

    def _named(self, name: str, flag: str) -> list[int]:
        """The column that a name means."""
        columns = self.table.columns
        if name.startswith("#") and name[1:].isdigit() and 1 <= int(name[1:]) <= len(columns):
            return [int(name[1:]) - 1]
        wanted = clean(name).lower()
        found = [i for i, column in enumerate(columns) if column.lower() == wanted]
        found = found or [i for i, column in enumerate(columns) if column.partition("(")[0].strip().lower() == wanted]
        if len(found) > 1:
            numbers = ", ".join(f"#{i + 1}" for i in found)
            self.faults.append(f"{self.path} has several columns {name}; {flag} takes their numbers, {numbers}")
        elif not found:
            self.faults.append(
                f"{self.path} has no column {name} for {flag}; it has {', '.join(filter(None, columns))}"
            )
        return found[:1]

    def _is_curve(self, given: Mapping[int, str]) -> bool:
        """Whether the lines are the epochs of trainings, not trainings."""
        if self.choices.kind or self.table.is_log:
            return self.table.is_log or self.choices.kind == "curve"
        kinds = {i: given.get(i, found.kind) for i, found in enumerate(self.meanings)}
        of_epochs = [i for i, kind in kinds.items() if kind in ("epoch", "epochs")]
        if len(of_epochs) != 1 or "epochs" in given.values() or "epoch" in given.values():
            return "epoch" in given.values()
        groups = defaultdict(set)
        for line in self.table.lines:
            cell = clean(line.cells[of_epochs[0]])
            groups[tuple(line.cells[i] for i, kind in kinds.items() if kind == "label")].add(cell)
        numbers = [{int(cell) for cell in cells if cell.isdecimal()} for cells in groups.values()]
        if all(len(each) > 1 and each == set(range(min(each), max(each) + 1)) and min(each) < 2 for each in numbers):
            return True
        alone = kinds[of_epochs[0]] == "epoch" and "label" not in kinds.values()
        if alone and all(len(each) > 1 for each in numbers):
            self.faults.append(
                f"{self.path} may be one training at several epochs or several of them; add --kind curve or --kind rows"
            )
        return False

    def _choose_keys(self, given: Mapping[int, str]) -> None:
        """Decides what each column is, and tells of those that are nothing known."""
        choose = point_key if self.is_curve else row_key
        unsure = []
        for column, found in enumerate(self.meanings):
            self.keys[column] = given.get(column) or choose(found)
            if self.is_curve and given.get(column) == "epochs":
                self.keys[column] = "epoch"
            bare = found.kind == "accuracy" or (found.kind == "loss" and self.is_curve)
            if self.keys[column] is None and bare and not found.split:
                unsure.append(column)
        self._settle(unsure)
        self._drop_repeats(given)
        if not self.is_curve and "label" not in self.keys:
            free = [column for column, key in enumerate(self.keys) if key is None]
            texts = [c for c in free if not any(is_numeric(line.cells[c]) for line in self.table.lines)]
            for column in texts[:1] or [c for c in free if c == 0]:
                self.keys[column] = "label"
        strange = [name for name, key in zip(self.table.columns, self.keys, strict=True) if key is None and name]
        names = [column for column in strange if any(not is_blank(cell) for cell in self._column(column))]
        if names:
            self.notes.append(
                f"not taken: {', '.join(names)}; "
                + f'--columns "{names[0]}=KEY" takes a column as one of {self._known()}'
            )
        if not self.faults and self._quantities().isdisjoint(map(str, self.keys)):
            self.faults.append(
                f"{self.path} has no column that is known to be a quantity, only "
                f"{', '.join(filter(None, self.table.columns))}; "
                f'--columns "NAME=KEY" says what one is, with KEY one of {self._known()}'
            )

    def _settle(self, unsure: Sequence[int]) -> None:
        """Decides accuracies and losses whose heads name no part of the data, where one is certain; else asks."""
        for column in unsure:
            kind, name = self.meanings[column].kind, self.table.columns[column]
            alike = [i for i in unsure if self.meanings[i].kind == kind]
            others = {
                self.meanings[i].split
                for i, found in enumerate(self.meanings)
                if found.kind == kind and i not in unsure
            }
            suffix = "loss" if kind == "loss" else "accuracy_percent"
            taken = set(self.keys)
            beside = {"precision_percent", "recall_percent", "f1_percent", "top5_accuracy_percent"} & taken
            if self.is_curve and len(alike) == 1 and f"train_{suffix}" not in taken and (others or self.table.is_log):
                self.keys[column] = f"train_{suffix}"
                self.notes.append(
                    f'{name} is taken as train_{suffix}, what a log prints without a word; --columns "{name}=KEY" else'
                )
            elif (
                not self.is_curve
                and len(alike) == 1
                and not {"test_accuracy_percent", "validation_accuracy_percent"} & taken
                and (beside or "accuracy" in name.lower())
            ):
                self.keys[column] = "test_accuracy_percent"
                self.notes.append(
                    f'{name} is taken as test_accuracy_percent; --columns "{name}=KEY" if it is another accuracy'
                )
            elif self.table.is_log:
                continue  # told as unknown
            else:
                shown = name if len(alike) == 1 else f"#{column + 1}"
                self.faults.append(
                    f"{self.path} does not say of which images {name} is the {kind}; add "
                    f'--columns "{shown}=test_{suffix}" (or train_{suffix}, validation_{suffix}, ignore)'
                )

    def _drop_repeats(self, given: Mapping[int, str]) -> None:
        """One column for each key: the user's, or the one that says it is the whole epoch's; else asks."""
        by_key = defaultdict(list)
        for column, key in enumerate(self.keys):
            if key not in (None, "label", "ignore"):
                by_key[key].append(column)
        for key, columns in by_key.items():
            best = [c for c in columns if c in given] or [
                c for c in columns if "epoch" in self.table.columns[c].lower()
            ]
            if len(columns) > 1 and len(best) == 1:
                for column in set(columns) - set(best):
                    self.keys[column] = None
            elif len(columns) > 1:
                names = " and ".join(f"{self.table.columns[c]} (#{c + 1})" for c in columns)
                drop = " ".join(f'"#{c + 1}=ignore"' for c in columns[1:])
                self.faults.append(
                    f"{self.path}: {names} would both be {key}; leave out all but one, as --columns {drop}"
                )

    def _quantities(self) -> set[str]:
        return {*(POINT_KEYS if self.is_curve else ()), *ROW_KEYS} - {"epochs", "runs", "std_percent"}

    def _known(self) -> str:
        return ", ".join(
            (*(POINT_KEYS if self.is_curve else ROW_KEYS), *(k for k in OTHER_KEYS if k != "epoch" or self.is_curve))
        )

    def _column(self, name: str) -> list[str]:
        column = self.table.columns.index(name)
        return [line.cells[column] for line in self.table.lines]

    def _cells(self) -> dict[tuple[int, int], Printed]:
        """The numbers of all columns that have a key, by line and column, in our units."""
        columns = [i for i, key in enumerate(self.keys) if key not in (None, "label", "ignore")]
        comma = self._takes_comma(line.cells[i] for i in columns for line in self.table.lines)
        self._check()
        cells: dict[tuple[int, int], Printed] = {}
        beside: dict[str, None] = {}
        for column in columns:
            for number, line in enumerate(self.table.lines):
                try:
                    printed = read(line.cells[column], comma)
                except UnreadableError as error:
                    name = self.table.columns[column]
                    self.faults.append(
                        f'{self.path}, {line.place}, {name}: {error}; --columns "{name}=ignore" leaves it out'
                    )
                    continue
                if printed is not None:
                    cells[number, column] = printed
                    if printed.beside:
                        beside[f"{printed.beside} at {line.place}"] = None
        if beside:
            self.notes.append(f"left out beside numbers: {', '.join(beside)}")
        self._check()
        of_shares = (c.digits for (_, i), c in cells.items() if str(self.keys[i]).endswith("_percent"))
        self.most = max(map(Decimal, of_shares), default=Decimal(0))
        for column in columns:
            own = {number: cell for (number, c), cell in cells.items() if c == column}
            cells |= {(number, column): cell for number, cell in self._in_our_unit(column, own).items()}
        return cells

    def _takes_comma(self, cells: Iterable[str]) -> bool:
        if self.choices.decimal or self.table.is_log:
            return self.choices.decimal == "comma"
        try:
            return takes_decimal_comma(cells)
        except UnreadableError as error:
            self.faults.append(f"{self.path}: {error}; add --decimal comma or --decimal point")
            return False

    def _in_our_unit(self, column: int, cells: Mapping[int, Printed]) -> dict[int, Printed]:
        """A column's numbers in percent or seconds; counts as whole numbers."""
        key, name = str(self.keys[column]), self.table.columns[column]
        if key.endswith("_percent"):
            found = self._percentages(column, cells)
        elif key in _TIMES:
            found = self._seconds(column, cells)
        else:
            found = dict(cells)
        for number, cell in found.items():
            place = f"{self.path}, {self.table.lines[number].place}, {name}"
            value = Decimal(cell.digits)
            if key in _COUNTS and (value != int(value) or value < (0 if key == "epoch" else 1)):
                self.faults.append(f"{place}: {cell.digits} is no whole number of at least 1")
            elif key.endswith("_percent") and not 0 <= value <= 100:
                self.faults.append(f"{place}: {cell.digits} is no percentage between 0 and 100")
            elif value < 0:
                self.faults.append(f"{place}: {cell.digits} is below 0")
        return found

    def _percentages(self, column: int, cells: Mapping[int, Printed]) -> dict[int, Printed]:
        name, head = self.table.columns[column], self.meanings[column]
        marked = any(cell.unit == "%" for cell in cells.values())
        most = max((abs(Decimal(cell.digits)) for cell in cells.values()), default=Decimal(2))
        said = self._said_unit(column)
        # A head that says percent over values of at most 1 is often a slip; an error rate may well be so small.
        percent = marked or most > 1 or (head.unit == "%" and head.kind in ("error", "std"))
        percent = percent or (head.kind == "std" and self.most > 1)  # it is in the unit of what it spreads around
        fraction = not marked and most <= 1 and (head.unit == "fraction" or self.table.fractions)
        if percent and said == "fraction" and column in self._unit_columns:
            self.faults.append(f"{self.path}: {name} has {most}{' %' * marked}, which is no fraction of 1")
        small = [c.digits for c in cells.values() if not c.unit and 0 < Decimal(c.digits) <= 1]
        if percent and small and said is None and not self.is_curve and head.kind not in ("error", "std"):
            self.faults.append(
                f"{self.path}: {name} has {small[0]} among percentages, which may be a fraction of 1; correct it, or "
                "add --unit percent"
            )
        if percent or not cells:
            return dict(cells)
        if not fraction and said is None:
            self.open.append(name + ", though its head says percent," * (head.unit == "%"))
        if said == "percent" or not (fraction or said):
            return dict(cells)
        if coarse := [
            cell.digits for cell in cells.values() if len(cell.digits.partition(".")[2]) < 2 and cell.digits != "1"
        ]:
            self.notes.append(f"{name} prints {coarse[0]}, so the percentage has a digit that is not printed")
        return {
            number: Printed(shift(c.digits, 2), "%", None if c.std is None else shift(c.std, 2))
            for number, c in cells.items()
        }

    @property
    def _unit_columns(self) -> dict[int, str]:
        """The units that the user gives for single columns."""
        return {i: unit for name, unit in self.choices.units.items() if name for i in self._named(name, "--unit")}

    def _said_unit(self, column: int) -> str | None:
        return self._unit_columns.get(column, self.choices.units.get(""))

    def _seconds(self, column: int, cells: Mapping[int, Printed]) -> dict[int, Printed]:
        name, head = self.table.columns[column], self.meanings[column]
        told = name in self.choices.columns or f"#{column + 1}" in self.choices.columns
        units = {cell.unit or head.unit or ("s" if told else "") for cell in cells.values()}
        if "" in units or units & {"%", "fraction"}:
            self.notes.append(
                f'{name} has no unit and is not taken; --columns "{name}={self.keys[column]}" takes it as seconds'
            )
            self.keys[column] = None
            return {}
        if units - {"s"}:
            self.notes.append(f"{name} is turned from {', '.join(sorted(units - {'s'}))} to seconds")
        return {n: Printed(in_seconds(c.digits, c.unit or head.unit or "s"), "s") for n, c in cells.items()}

    def _lines(self, cells: Mapping[tuple[int, int], Printed]) -> list[FoundRow]:
        """A row for each line; of a table by class, as scikit-learn prints one, a row for its averages."""
        found = []
        if by_class := [n for n, line in enumerate(self.table.lines) if clean(line.cells[0]).lower() in _BY_CLASS]:
            return self._by_class(by_class[0], cells)
        for number, line in enumerate(self.table.lines):
            printed = {str(key): cells[number, i] for i, key in enumerate(self.keys) if key and (number, i) in cells}
            if not printed.keys() & self._quantities():
                self.notes.append(f"{line.place} prints nothing that is taken")
                continue
            row = FoundRow(
                number + 1,
                self._label(line) or f"{self.table.columns[0]} {clean(line.cells[0])}".strip(),
                line.place,
                line.text,
            )
            row.reported = {key: printed[key].digits for key in ROW_KEYS if key in printed}
            averages = {self.meanings[i].averages for i, key in enumerate(self.keys) if key in row.reported} - {""}
            row.averages = averages.pop() if len(averages) == 1 else ""
            self._spread(row, printed)
            found.append(row)
        return found

    def _by_class(self, first: int, cells: Mapping[tuple[int, int], Printed]) -> list[FoundRow]:
        """The row of a table with a line for each class, of which only accuracy and averages are a row's."""
        line = self.table.lines[first]
        row = FoundRow(1, self.path.stem, line.place, line.text)
        row.averages = clean(line.cells[0]).lower().partition(" ")[0]
        keys = {
            key: i for i, key in enumerate(self.keys) if key in ("precision_percent", "recall_percent", "f1_percent")
        }
        row.reported = {key: cells[first, i].digits for key, i in keys.items() if (first, i) in cells}
        for number, other in enumerate(self.table.lines):
            shown = [cells[number, i].digits for i in keys.values() if (number, i) in cells]
            if clean(other.cells[0]).lower() == "accuracy" and shown:
                row.reported = {"test_accuracy_percent": shown[-1], **row.reported}
                row.text = f"{other.text}\n{row.text}"
        self.notes.append(
            f"taken is {clean(line.cells[0])}; the lines of single classes and other averages are no rows"
        )
        return [row]

    def _spread(self, row: FoundRow, printed: Mapping[str, Printed]) -> None:
        """The standard deviation that stands behind a row's first accuracy or error."""
        spread = {key: cell.std for key, cell in printed.items() if cell.std is not None}
        main = next((key for key in ("test_accuracy_percent", "error_percent", *ROW_KEYS) if key in spread), None)
        if main is not None and "std_percent" not in row.reported and main.endswith("_percent"):
            row.reported["std_percent"] = str(spread.pop(main))
        if self.choices.runs and "std_percent" in row.reported:
            row.reported.setdefault("runs", str(self.choices.runs))
        row.reported = {key: row.reported[key] for key in ROW_KEYS if key in row.reported}
        for key, std in spread.items():
            self.notes.append(f"{row.place}: ± {std} behind {key} is not taken, as a row has one std_percent")
        if "std_percent" in row.reported and "runs" not in row.reported:
            self.notes.append("over how many runs the ± is taken does not stand in the table; --runs K says it")

    def _label(self, line: Line) -> str:
        """What the label's columns say; a number with its column's name."""
        parts = []
        for name, key, cell in zip(self.table.columns, self.keys, line.cells, strict=True):
            if key == "label" and not is_blank(cell):
                text = clean(cell)
                parts.append(
                    f"{name} {text}" if name and is_numeric(text) and not any(c.isalpha() for c in text) else text
                )
        return ", ".join(parts)

    def _curves(self, cells: Mapping[tuple[int, int], Printed]) -> list[FoundRow]:
        """A row for each training, with its epochs."""
        if "epoch" not in self.keys:
            self.faults.append(f'{self.path} has no column of epochs; --columns "NAME=epoch" says which it is')
            return []
        groups: dict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(self.table.lines):
            groups[self._label(line)].append(number)
        found = [self._curve(count, label, numbers, cells) for count, (label, numbers) in enumerate(groups.items(), 1)]
        return [row for row in found if row.curve or row.reported.keys() & self._quantities()]

    def _curve(
        self, count: int, label: str, numbers: Sequence[int], cells: Mapping[tuple[int, int], Printed]
    ) -> FoundRow:
        at = self.keys.index("epoch")
        numbers = [n for n in numbers if (n, at) in cells]
        epochs = {n: int(Decimal(cells[n, at].digits)) for n in numbers}
        first = min(epochs.values(), default=1)
        if first == 0:
            self.notes.append("epochs are counted from 0 there, and from 1 in the rows")
            epochs = {n: epoch + 1 for n, epoch in epochs.items()}
        last = max(epochs.values(), default=0)
        values: dict[str, dict[int, str]] = {}
        for column, key in enumerate(self.keys):
            if key in (None, "epoch", "label", "ignore"):
                continue
            own: dict[int, dict[str, None]] = defaultdict(dict)
            for n in numbers:
                if (n, column) in cells:
                    own[epochs[n]][cells[n, column].digits] = None
            if any(len(each) > 1 for each in own.values()):
                name = self.table.columns[column]
                self.notes.append(f"{name} has several values in one epoch, so none of them is the epoch's")
            elif own:
                values[str(key)] = {epoch: next(iter(each)) for epoch, each in own.items()}
        lines = [self.table.lines[n] for n in numbers]
        places = [line.place.removeprefix("line ") for line in lines]
        place = (
            f"lines {places[0]} to {places[-1]}" if len(places) > 1 else f"line {places[0]}" if places else "nowhere"
        )
        row = FoundRow(count, label, place, "\n".join(line.text for line in lines), is_training=True)
        planned = self.table.planned_epochs
        complete = planned is None or last + (first == 0) >= planned
        for key in list(values):
            once = list(values[key]) == [last] and key.startswith("test_") and last > 1
            if key in POINT_KEYS and not once:
                continue
            # Of the training, not of an epoch on the way: printed at its end, or where a curve has no place for it.
            digits = values.pop(key)
            if key in ROW_KEYS and last in digits:
                row.reported[key] = digits[last]
            elif any(last in each for name, each in values.items() if not name.startswith("test_")):
                values[key] = digits
            else:
                self.notes.append(f"{key} {digits[last]} is not taken, as a row has a place for it only in an epoch")
            if len(digits) > 1:
                self.notes.append(f"{key} is taken of the last epoch alone, as a curve has no place for it")
        of_epochs = sorted({epoch for each in values.values() for epoch in each})
        row.curve = [
            {"epoch": str(epoch), **{key: values[key][epoch] for key in POINT_KEYS if epoch in values.get(key, {})}}
            for epoch in of_epochs
        ]
        last = max(of_epochs, default=last)
        row.reported["epochs"] = str(last if complete else planned)
        if complete:
            final = row.curve[-1] if row.curve else {}
            for key in ROW_KEYS:
                if key in final:
                    row.reported.setdefault(key, final[key])
        else:
            self.notes.append(
                f"the log is to have {planned} epochs and ends with {last}, so no value is the last epoch's"
            )
        row.reported = {key: row.reported[key] for key in ROW_KEYS if key in row.reported}
        return row
