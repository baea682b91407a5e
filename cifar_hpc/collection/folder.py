"""A folder of reports: `collection.yaml`, a file for each row, statements and claims. The packaged five are one.

Which folder a command works on: `--collection DIR`, else the variable CIFAR_HPC_COLLECTION, else `./reproductions`
where that is one, else the packaged one.
"""

import math
import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from cifar_hpc.collection.experiment import kind_of_experiment
from cifar_hpc.collection.metrics import METRICS
from cifar_hpc.collection.reproduction import Report, Row, no_id, read_row
from cifar_hpc.collection.source import Source, read_yaml
from cifar_hpc.errors import UserError, did_you_mean

VARIABLE = "CIFAR_HPC_COLLECTION"
INDEX = "collection.yaml"
COLLECTION_HELP = f"folder of reports to work on (default: {VARIABLE}, else ./reproductions, else the packaged five)"
_NO_ROWS = (INDEX, "claims.yaml", "statements.yaml")
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Collection:
    """What lies in a folder of reports.

    Attributes:
        folder: path of the folder.
        reports: the reports by id, in the order of collection.yaml.
        rows: the rows whose files are sound, by id, sorted.
        problems: a sentence on each mistake in the other files.
    """

    folder: Path
    reports: dict[str, Report]
    rows: dict[str, Row]
    problems: tuple[str, ...]

    @property
    def row_files(self) -> list[Path]:
        """The files of all rows, sound or not."""
        return _row_files(self.folder)

    @cached_property
    def recipes(self) -> dict[str, Path]:
        """The files of recipes in the folder's own folders, which are added to a row: values of a study."""
        found = {}
        for path in _recipe_files(self.folder):
            group = read_yaml(path).get("reproduction")
            if isinstance(group, dict) and group.get("recipe"):
                found[str(group["recipe"])] = path
        return found

    @property
    def is_default(self) -> bool:
        """Whether this is what a command in this folder takes when it is told nothing."""
        return self.folder.resolve() == _default().resolve()

    @property
    def runs(self) -> Path:
        """The folder where its new runs go."""
        return Path("runs") if self.is_default else self.folder / "runs"

    def record_folders(self, committed_only: bool = False) -> list[Path]:
        """Lists the folders that hold its records, its own and the current one's; those of kept records come first."""
        results = [self.folder / "results", Path("results")]
        if not results[1].is_dir() and self.folder.resolve() == packaged().resolve():
            results.append(self.folder.parent / "results")  # a checkout's, where the command runs in another folder
        found = results if committed_only else [*results, self.folder / "runs", Path("runs")]
        return list({path.resolve(): path for path in reversed(found) if path.is_dir()}.values())[::-1]

    def row(self, name: str) -> Row:
        """Finds the row with this id.

        Raises:
            UserError: if there is none, or its file is wrong.
        """
        if name in self.rows:
            return self.rows[name]
        if (path := self.folder / f"{name}.yaml") in self.row_files:
            return self.read(path)  # which says what is wrong with it
        where = "" if self.is_default else f" in {self.folder}"
        near = did_you_mean(name, self.rows)
        raise UserError(f"There is no row {name}{where}; {near or f'the rows are {_listed(self.rows)}'}")

    def read(self, path: Path) -> Row:
        """Reads a row's file, which may lie elsewhere.

        Raises:
            UserError: if it is wrong.
        """
        return read_row(path, self.reports)

    def relatives(self, row: Row) -> list[Row]:
        """Finds the rows that are one experiment with this one, itself among them: a run of one is evidence for all."""
        return self._kinds[kind_of_experiment(row.config)] if row.trains else [row]

    @cached_property
    def _kinds(self) -> dict[Any, list[Row]]:
        kinds = defaultdict(list)
        for row in self.rows.values():
            if row.trains:
                kinds[kind_of_experiment(row.config)].append(row)
        return kinds

    def printed_epochs(self, row: Row) -> tuple[int, ...]:
        """Lists the epochs of which any row of the experiment prints what was measured on the test set, in order.

        Those are the last epochs of its rows, and the epochs of printed logs with a test loss or accuracy.
        """
        epochs: set[int] = set()
        for relative in self.relatives(row):
            reported = relative.reproduction.reported
            if any(getattr(reported, metric) is not None for metric in METRICS):
                epochs.add(reported.epochs or relative.epochs)
            epochs |= {p.epoch for p in reported.curve if (p.test_accuracy_percent, p.test_loss) != (None, None)}
        return tuple(sorted(epochs))

    def smallest(self, setting: str | None = None) -> str:
        """Finds the id of the row with the smallest network, of those whose data have a setting if one is named.

        Raises:
            UserError: if there is none.
        """
        rows = [row for row in self.rows.values() if row.trains and (setting is None or setting in row.config["data"])]
        if not rows:
            raise UserError(f"No row in {self.folder} trains with {setting or 'anything'}; name another --collection")
        return min(rows, key=lambda row: row.reproduction.trainable_parameters or math.inf).reproduction.name

    def check_reports(self, names: Iterable[str]) -> None:
        """Refuses names of reports that do not exist.

        Raises:
            UserError: naming the reports that do.
        """
        for name in names:
            if name not in self.reports:
                near = did_you_mean(name, self.reports)
                raise UserError(f"There is no report {name}; {near or f'the reports are {_listed(self.reports)}'}")

    def command(self, command: str, *arguments: object) -> str:
        """Writes a command line for the user, which works on this collection from the current folder."""
        where = [] if self.is_default else ["--collection", self.folder]
        return shlex.join(map(str, ("python", "-m", "cifar_hpc", command, *where, *arguments)))


@contextmanager
def choosing(folder: str | None) -> Iterator[None]:
    """Makes a folder the chosen collection, for this process and those that it starts."""
    before = os.environ.get(VARIABLE)
    if folder is not None:
        os.environ[VARIABLE] = folder
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before
        elif folder is not None:
            os.environ.pop(VARIABLE, None)


def chosen() -> Collection:
    """Reads the collection that the command works on.

    Raises:
        UserError: if there is none in the folder.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else _default()
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is no collection: it holds no {INDEX}; `init {folder}` makes one")
    # A part of the key under which `_read` is cached, so that a changed file is read again.
    rows = _row_files(folder)
    files = (folder / INDEX, *rows, *_recipe_files(folder))
    state = tuple((path, _state(path)) for path in files)
    return _read(folder, tuple(rows), state)


def _state(path: Path) -> tuple[int, int] | None:
    """Returns what changes when a file does; null for one that is not there, as a link may lead nowhere."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def owner(path: Path) -> Path | None:
    """Finds the collection in whose folder a file lies, at any depth; null where there is none."""
    return next((parent for parent in path.absolute().parents if (parent / INDEX).is_file()), None)


def is_here(collection: Collection) -> bool:
    """Checks whether a collection is this folder's `reproductions`, as in a checkout."""
    return collection.folder.resolve() == Path("reproductions").resolve()


def implied(files: Iterable[str]) -> str | None:
    """Finds the collection that a command line's files lie in, where none is named; null for the one taken anyway."""
    if not os.environ.get(VARIABLE):
        for file in files:
            found = owner(Path(file)) if os.path.exists(file) else None
            if found is not None and found.resolve() != _default().resolve():
                return os.path.relpath(found)
    return None


def packaged() -> Path:
    """Finds the folder of the five reports: beside the package in a checkout, inside it when installed from a wheel."""
    return _beside("reproductions")


def configuration_file(name: str, flag: str = "-c", with_packaged: bool = False) -> Path:
    """Finds the file that `-c` means: one that is there, or a row, recipe or overlay by its name.

    Args:
        name: the name as given.
        flag: the flag that it was given behind.
        with_packaged: whether rows of the packaged reports are looked for, behind the collection's own.

    Raises:
        UserError: if nothing is called so.
    """
    path = Path(name)
    if path.exists() or "/" in name or os.sep in name or path.suffix in (".yaml", ".yml"):
        return path
    collection = chosen()
    files = {file.stem: file for file in collection.row_files}
    places = [files, collection.recipes, _named(Path("configs")), overlays()]
    if with_packaged:
        places.append({file.stem: file for file in _row_files(packaged())})
    for place in places:
        if name in place:
            return place[name]
    near = did_you_mean(name, set().union(*places))
    told = near or f"`rows` lists the rows, and overlays are {_listed(sorted(places[3]))}"
    raise UserError(f"{flag} {name}: there is no such file here, and no row or overlay of that name; {told}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none yet"


def _beside(name: str) -> Path:
    return next((f for f in (_PACKAGE / name, _PACKAGE.parent / name) if f.is_dir()), Path(name))


def overlays() -> dict[str, Path]:
    """Finds the packaged overlays and recipes, by name."""
    return _named(_beside("configs"))


def _named(folder: Path) -> dict[str, Path]:
    """Finds overlays by name; one in the folder itself comes before one of the same name deeper down."""
    return {path.stem: path for pattern in ("*/*.yaml", "*.yaml") for path in sorted(folder.glob(pattern))}


def _default() -> Path:
    here = Path("reproductions")
    return here if (here / INDEX).is_file() else packaged()


def _recipe_files(folder: Path) -> list[Path]:
    return _not_hidden(folder.glob("*/*.yaml"))


def _row_files(folder: Path) -> list[Path]:
    return _not_hidden(path for path in folder.glob("*.yaml") if path.name not in _NO_ROWS)


def _not_hidden(paths: Iterable[Path]) -> list[Path]:
    """Sorts the files that people wrote, without what editors and systems leave beside them."""
    return sorted(path for path in paths if not path.name.startswith("."))


def _overlooked(folder: Path) -> Iterator[str]:
    """Yields a sentence on each file that looks like a row's but has a place or name at which no row is looked for."""
    deeper = _recipe_files(folder)
    for path in (*_not_hidden(folder.glob("*.yml")), *deeper):
        try:
            text = path.read_text(encoding="utf-8")
            if "reproduction:" not in text or "recipe:" in text:
                continue
            group = read_yaml(path).get("reproduction")
        except (UserError, OSError, UnicodeDecodeError):
            continue
        if isinstance(group, dict) and group.get("row") is not None:
            right = f"{path.with_suffix('.yaml').name} in the folder {folder} itself"
            yield f"{path}:1: the row {group['row']} is not read here; its file must be {right}"


@lru_cache(maxsize=4)
def _read(folder: Path, row_files: tuple[Path, ...], state: object) -> Collection:
    problems: list[str] = []
    reports, whole = _read_reports(folder / INDEX, problems)
    rows = {}
    for path in row_files:
        try:
            row = read_row(path, reports if whole else None)
            if row.reproduction.row is None:
                raise UserError(f"{path}:1: reproduction.row is missing; it must be {path.stem}")
            rows[path.stem] = row
            reports.setdefault(str(row.reproduction.report), Report(str(row.reproduction.report)))
        except UserError as error:
            problems += str(error).splitlines()
    problems += _overlooked(folder)
    return Collection(folder, reports, rows, tuple(problems))


@dataclass
class _Index:
    """What collection.yaml holds.

    Args:
        reports: the reports by id.
    """

    reports: dict[str, Any]


def _read_reports(path: Path, problems: list[str]) -> tuple[dict[str, Report], bool]:
    """Reads the reports of collection.yaml, and tells whether these are all.

    A report with a mistake counts by its name alone, so that its rows are still read.
    """
    reports: dict[str, Report] = {}
    index = None
    try:
        source = Source(path)
        source.refuse_repeated_keys()
        index = source.build(_Index, source.content)
        named = source.content.get("reports")
        for name, report in named.items() if isinstance(named, dict) else ():
            if not isinstance(name, str):
                continue  # told already
            if told := no_id(name):
                source.refuse(("reports", name), f'reports has the id "{name}", which {told}')
            reports[name] = source.build(Report, report, ("reports", name)) or Report(name)
        source.check()
    except UserError as error:
        problems += str(error).splitlines()
    return reports, index is not None
