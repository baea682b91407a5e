"""Makes rows and curves of a table's cells: which column is what, in which unit, and what is not certain."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from cifar_hpc.collection.metrics import MAIN
from cifar_hpc.errors import UserError
from cifar_hpc.transcribe.by_class import line_of_averages, row_of
from cifar_hpc.transcribe.curves import Curves
from cifar_hpc.transcribe.found import Choices, FoundRow, listed, summed_up
from cifar_hpc.transcribe.labels import Labels, repeated
from cifar_hpc.transcribe.printed import (
    BracketsError,
    PrintedNumber,
    UnreadableError,
    clean,
    holds_spread,
    in_seconds,
    is_blank,
    is_numeric,
    read_cell,
    shift,
    takes_decimal_comma,
)
from cifar_hpc.transcribe.quantities import (
    OTHER_KEYS,
    POINT_KEYS,
    ROW_KEYS,
    Meaning,
    meaning,
    names_spread,
    point_key,
    row_key,
    without_spread,
)
from cifar_hpc.transcribe.tables import Table

_TIMES = ("training_seconds", "seconds_per_epoch", "seconds")
_COUNTS = ("epochs", "epoch", "runs")


class TableReader:
    """Reads one table; gathers what is wrong with it, and what a reader should know.

    Args:
        path: path of the file, for messages.
        table: the table.
        choices: what the user said of it.
    """

    def __init__(self, path: Path, table: Table, choices: Choices) -> None:
        self.path, self.table, self.choices = path, table, choices
        self.faults: list[str] = []
        self.open: list[str] = []  # in percent or not: asked of all columns at once
        self.notes = list(table.notes)
        self.meanings = [self._meaning(column) for column in range(len(table.columns))]
        self.keys: list[str | None] = [None] * len(table.columns)

    def rows(self) -> list[FoundRow]:
        """Makes the rows.

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
            taken = (n for n, key in zip(self.table.columns, self.keys, strict=True) if key in self._quantities())
            raise UserError(f"{self.path} prints no number under {listed(taken) or self._known()}")
        return found

    def _check(self) -> None:
        if self.faults:
            raise UserError("\n".join(summed_up(list(dict.fromkeys(self.faults)), "faults of its cells")))

    def _meaning(self, column: int) -> Meaning:
        """Reads what a head says of its values; values with deviations beside them are no column of deviations."""
        name = self.table.columns[column]
        spread = any(holds_spread(line.cells[column]) for line in self.table.lines)
        return meaning(without_spread(name) if spread else name)

    def _given(self) -> dict[int, str]:
        """Finds the keys that the user gives, by column."""
        given, known = {}, (*ROW_KEYS, *POINT_KEYS, *OTHER_KEYS)
        for name, key in self.choices.columns.items():
            if key not in known:
                self.faults.append(f'--columns "{name}={key}": a column may be {", ".join(dict.fromkeys(known))}')
            for column in self._named(name, "--columns"):
                given[column] = key
        self._check()
        return given

    def _named(self, name: str, flag: str) -> list[int]:
        """Finds the column that a name means; tells where there is none, or several."""
        columns = self.table.columns
        if name.startswith("#") and name[1:].isdecimal() and 1 <= int(name[1:]) <= len(columns):
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
        """Checks whether the lines are the epochs of trainings, not trainings."""
        if self.choices.kind or self.table.is_log:
            return self.table.is_log or self.choices.kind == "curve"
        kinds = {i: given.get(i, found.kind) for i, found in enumerate(self.meanings)}
        of_epochs = [i for i, kind in kinds.items() if kind in ("epoch", "epochs")]
        if len(of_epochs) != 1 or "epochs" in given.values() or "epoch" in given.values():
            return "epoch" in given.values()
        labels = Labels(self.table, [i for i, kind in kinds.items() if kind == "label"], merged=True)
        groups = defaultdict(set)
        for label, line in zip(labels.cells, self.table.lines, strict=True):
            groups[label].add(clean(line.cells[of_epochs[0]]))
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
        self._tell_unknown()
        if not self.faults and self._quantities().isdisjoint(map(str, self.keys)):
            self.faults.append(
                f"{self.path} has no column that is known to be a quantity, only "
                f"{', '.join(filter(None, self.table.columns))}; "
                f'--columns "NAME=KEY" says what one is, with KEY one of {self._known()}'
            )

    def _tell_unknown(self) -> None:
        """Tells of columns that are not taken; refuses where most are nothing known and nobody said what they are."""
        unknown = {}
        for column, name in enumerate(self.table.columns):
            counted = name.lower() == "support" and line_of_averages(self.table) is not None
            cells = [line.cells[column] for line in self.table.lines if not is_blank(line.cells[column])]
            if self.keys[column] is None and name and cells and not counted:
                unknown[name] = not self.meanings[column].kind and any(map(is_numeric, cells))
        if not unknown:
            return
        first, known = next(iter(unknown)), {*ROW_KEYS, *POINT_KEYS}.intersection(map(str, self.keys))
        if known and sum(unknown.values()) > len(known) and not self.choices.columns and not self.table.is_log:
            names = [name for name, is_quantity in unknown.items() if is_quantity]
            self.faults.append(
                f"{self.path} has more columns of numbers that are nothing known ({', '.join(names)}) than others; "
                f'--columns "{names[0]}=KEY" says what one is, with KEY one of {self._known()}, and once it '
                "is given the others are left out"
            )
        self.notes.append(
            f'not taken: {", ".join(unknown)}; --columns "{first}=KEY" takes a column as one of {self._known()}'
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
        """Keeps one column for each key: the user's, or the one that says it is the whole epoch's; else asks."""
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
                    f"{self.path}: {names} would both be {key}; leave out all but one, as --columns {drop}; "
                    "another --where takes the others in a second go"
                )

    def _quantities(self) -> set[str]:
        return {*(POINT_KEYS if self.is_curve else ()), *ROW_KEYS} - {"epochs", "runs", "std_percent"}

    def _known(self) -> str:
        return ", ".join(
            (*(POINT_KEYS if self.is_curve else ROW_KEYS), *(k for k in OTHER_KEYS if k != "epoch" or self.is_curve))
        )

    def _cells(self) -> dict[tuple[int, int], PrintedNumber]:
        """Reads the numbers of all columns that have a key, by line and column, in our units."""
        columns = [i for i, key in enumerate(self.keys) if key not in (None, "label", "ignore")]
        comma = self._takes_comma(line.cells[i] for i in columns for line in self.table.lines)
        self._check()
        cells = self._read(columns, comma)
        self._check()
        of_shares = (c.digits for (_, i), c in cells.items() if str(self.keys[i]).endswith("_percent"))
        self.most = max(map(Decimal, of_shares), default=Decimal(0))
        for column in columns:
            own = {number: cell for (number, c), cell in cells.items() if c == column}
            cells |= {(number, column): cell for number, cell in self._in_our_unit(column, own).items()}
        return cells

    def _read(self, columns: Sequence[int], comma: bool) -> dict[tuple[int, int], PrintedNumber]:
        """Reads the numbers of columns as printed; tells of cells with something else, or something beside one."""
        cells: dict[tuple[int, int], PrintedNumber] = {}
        told: dict[str, list[str]] = defaultdict(list)
        asked: list[str] = []
        for column in columns:
            name = self.table.columns[column]
            said = "std" if names_spread(f"{name} {self.table.caption}") else None
            for number, line in enumerate(self.table.lines):
                text, place = clean(line.cells[column]), f"at {line.place}"
                try:
                    printed = read_cell(text, comma, self.choices.brackets or said)
                except BracketsError:
                    asked.append(f"{text} {place}")
                    continue
                except UnreadableError as error:
                    self.faults.append(
                        f"{self.path}, {line.place}, {name}: {error}; correct it, or empty the cell, which leaves it "
                        f'out (--columns "{name}=ignore" leaves the column out)'
                    )
                    continue
                if printed is None:
                    told["left out, as they are no numbers"] += [f"{text} {place} ({name})"] * bool(text)
                    continue
                cells[number, column] = printed
                told["left out beside numbers"] += [f"{printed.beside} {place}"] * bool(printed.beside)
                told["approximate, and taken as printed"] += [f"{text} {place}"] * printed.approximate
        if asked:
            self.faults.append(
                f"{self.path}: {listed(asked)} may be a mean with its standard deviation in brackets; add --brackets "
                "std, or --brackets ignore, which takes none of the numbers in brackets"
            )
        self.notes += [f"{what}: {listed(items)}" for what, items in told.items() if items]
        return cells

    def _takes_comma(self, cells: Iterable[str]) -> bool:
        if self.choices.decimal or self.table.is_log:
            return self.choices.decimal == "comma"
        try:
            return takes_decimal_comma(cells)
        except UnreadableError as error:
            self.faults.append(f"{self.path}: {error}; add --decimal comma or --decimal point")
            return False

    def _in_our_unit(self, column: int, cells: Mapping[int, PrintedNumber]) -> dict[int, PrintedNumber]:
        """Turns a column's numbers into percent or seconds, and tells of those that cannot be; counts must be whole."""
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

    def _percentages(self, column: int, cells: Mapping[int, PrintedNumber]) -> dict[int, PrintedNumber]:
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
        small = [n for n, c in cells.items() if not c.unit and 0 < Decimal(c.digits) <= 1]
        if percent and small and said is None and not self.is_curve and head.kind not in ("error", "std"):
            self.faults.append(
                f"{self.path}, {self.table.lines[small[0]].place}: {name} has {cells[small[0]].digits} among "
                "percentages, which may be a fraction of 1; correct it, or add --unit percent"
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
            number: replace(c, digits=shift(c.digits, 2), unit="%", std=None if c.std is None else shift(c.std, 2))
            for number, c in cells.items()
        }

    @property
    def _unit_columns(self) -> dict[int, str]:
        """The units that the user gives for single columns."""
        return {i: unit for name, unit in self.choices.units.items() if name for i in self._named(name, "--unit")}

    def _said_unit(self, column: int) -> str | None:
        return self._unit_columns.get(column, self.choices.units.get(""))

    def _seconds(self, column: int, cells: Mapping[int, PrintedNumber]) -> dict[int, PrintedNumber]:
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
        return {n: PrintedNumber(in_seconds(c.digits, c.unit or head.unit or "s"), "s") for n, c in cells.items()}

    def _lines(self, cells: Mapping[tuple[int, int], PrintedNumber]) -> list[FoundRow]:
        """Makes a row for each line; of a table by class, as scikit-learn prints one, a row for its averages."""
        if line_of_averages(self.table) is not None:
            row, notes = row_of(self.table, self.keys, cells)
            self.notes += notes
            return [row] if row.reported else []
        found, nothing = [], []
        labels = Labels(self.table, [i for i, key in enumerate(self.keys) if key == "label"], merged=False)
        for number, line in enumerate(self.table.lines):
            printed = {str(key): cells[number, i] for i, key in enumerate(self.keys) if key and (number, i) in cells}
            if not printed.keys() & self._quantities():
                nothing.append(line.place)
                continue
            row = FoundRow(number + 1, labels.of_row(number), line.place, line.text)
            row.reported = {key: printed[key].digits for key in ROW_KEYS if key in printed}
            averages = {self.meanings[i].averages for i, key in enumerate(self.keys) if key in row.reported} - {""}
            row.averages = averages.pop() if len(averages) == 1 else ""
            self._spread(row, printed)
            found.append(row)
        self.notes += [f"{listed(nothing)} print{'s' * (len(nothing) == 1)} nothing that is taken"] * bool(nothing)
        self.notes += [*labels.notes, *repeated(found)]
        return found

    def _curves(self, cells: Mapping[tuple[int, int], PrintedNumber]) -> list[FoundRow]:
        """Makes a row for each training, with its epochs."""
        if "epoch" not in self.keys:
            self.faults.append(f'{self.path} has no column of epochs; --columns "NAME=epoch" says which it is')
            return []
        curves = Curves(self.path, self.table, self.keys, cells)
        found = curves.rows()
        self.faults += curves.faults
        self.notes += curves.notes
        return found

    def _spread(self, row: FoundRow, printed: Mapping[str, PrintedNumber]) -> None:
        """Takes the standard deviation behind a row's first accuracy or error, or behind what stands for them."""
        spread = {key: cell.std for key, cell in printed.items() if cell.std is not None}
        main = next((key for key in MAIN if key in spread), None)
        if main is None and not any(key in printed for key in MAIN):
            main = next((key for key in ROW_KEYS if key in spread), None)
        if main is not None and "std_percent" not in row.reported and main.endswith("_percent"):
            row.reported["std_percent"] = str(spread.pop(main))
        if self.choices.runs and "std_percent" in row.reported:
            row.reported.setdefault("runs", str(self.choices.runs))
        row.reported = {key: row.reported[key] for key in ROW_KEYS if key in row.reported}
        for key, std in spread.items():
            self.notes.append(
                f"{row.place}: ± {std} behind {key} is not taken, as a row has one std_percent, the accuracy's"
            )
        if "std_percent" in row.reported and "runs" not in row.reported:
            self.notes.append("no column says over how many runs the ± is taken; --runs K does")
