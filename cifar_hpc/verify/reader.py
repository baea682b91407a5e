"""The one reader of records: what every command takes as evidence, and what is wrong with the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cifar_hpc.collection.folder import Collection, chosen
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.records.record import Epochs, Record, Selected, Selection, find_record_files
from cifar_hpc.verify.copies import Originals
from cifar_hpc.verify.recompute import read_sound_record


@dataclass(frozen=True)
class Found:
    """What some record files hold.

    Attributes:
        records: sound ones of runs that have ended, each once.
        unfinished: sound ones of runs that have not.
        problems: one sentence on each file that is refused.
        collection: whose rows they tell of.
    """

    records: tuple[Record, ...]
    unfinished: tuple[Record, ...]
    problems: tuple[str, ...]
    collection: Collection

    def of(self, name: str) -> list[Record]:
        """Picks the records of a row or recipe itself."""
        return [record for record in self.records if record.name == name]

    def evidence(self, row: Row) -> list[Record]:
        """Picks the records that tell of a row: its own, and those of rows that are one experiment with it."""
        name = row.reproduction.name
        relatives = {relative.reproduction.name for relative in self.collection.relatives(row)} - {name}
        shared = (as_evidence(record, row) for relative in sorted(relatives) for record in self.of(relative))
        return self.of(name) + [record for record in shared if record is not None]


def read_all(committed_only: bool = False) -> Found:
    """Reads every record under results/ and, if they are wanted, runs/.

    Records of other collections may lie in the current folder's: those are passed over.
    """
    return read(all_files(committed_only))


def all_files(committed_only: bool = False) -> list[Path]:
    """Lists the files that `read_all` reads."""
    collection = chosen()
    return [file for file in find_record_files(committed_only=committed_only) if not _is_foreign(file, collection)]


def _is_foreign(file: Path, collection: Collection) -> bool:
    """Checks whether a record lies outside a collection's folder, and its run's configuration names no report of it."""
    config = file.with_name("config.yaml")
    if file.is_relative_to(collection.folder) or file.parent.parent.name in collection.rows or not config.is_file():
        return False
    try:
        group = read_yaml(config).get("reproduction")
    except UserError:
        return False
    report = group.get("report") if isinstance(group, dict) else None
    return report is not None and report not in collection.reports


def read(files: Iterable[Path]) -> Found:
    """Reads records; what is wrong with one ends nothing."""
    collection = chosen()
    known = {path.stem for path in collection.row_files}
    complete: list[Record] = []
    unfinished: list[Record] = []
    problems: list[str] = []
    originals = Originals(collection)
    for file in files:
        try:
            record = read_sound_record(file)
            if record.row is not None and record.row not in known:
                raise UserError(f"{file}: There is no row {record.row} any more; `rows` lists the rows")
            originals.add(record)
        except UserError as error:
            problems.append(str(error))
            continue
        if not record.is_complete:
            unfinished.append(record)
        # One that was kept under results/ is still in its run's directory.
        elif record not in complete:
            complete.append(record)
    return Found(tuple(complete), tuple(unfinished), tuple(problems), collection)


def as_evidence(record: Record, row: Row) -> Record | None:
    """Takes a relative's record for one of this row and notes whose it is; None if it stops before the row's number.

    Taken is the run's last epoch where the row trains as many, else the epoch on the way that was kept with its
    predictions.

    Args:
        record: of a row that is one experiment with `row`.
        row: to be judged.
    """
    epochs = row.epochs
    if record.tier != "full" or record.changed:
        return None
    shared = replace(record, row=row.reproduction.row, shared_from=record.name)
    if record.most_epochs == epochs:
        return shared
    kept = record.printed.get(str(epochs))
    shared = replace(shared, epochs=Epochs(epochs, epochs))
    return None if kept is None else replace(_cut(shared, kept), answers=f"epoch{epochs}")


def _cut(record: Record, kept: Selected) -> Record:
    """Takes a record back to an epoch that was kept on the way."""
    curve = record.curve[: kept.epoch]
    train, evaluation = sum(p.train_seconds for p in curve), sum(p.eval_seconds for p in curve)
    time = replace(record.time, train_seconds=train, eval_seconds=evaluation, fit_seconds=train + evaluation)
    # The whole run's best epoch is its beginning's too only where it lies there; of others not all is known.
    best = record.selection.best_test
    selection = Selection(kept, best if best is not None and best.epoch <= kept.epoch else None)
    return replace(record, curve=curve, time=time, selection=selection)
