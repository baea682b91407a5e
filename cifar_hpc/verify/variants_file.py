"""`variants/ROW.yaml` of a collection: candidates for what a report leaves unsaid of a row's experiment."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifar_hpc.collection.defaults import GROUPS, unknown_names
from cifar_hpc.collection.experiment import as_argument
from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys, name_of
from cifar_hpc.collection.typed_yaml import read_lists
from cifar_hpc.errors import UserError, did_you_mean


@dataclass
class Candidate:
    """A variant of a row.

    Args:
        name: of the variant.
        changes: settings that differ from the row's, by dotted key.
        why: what speaks for trying it.
        curves: files with curves of runs that are no records, relative to the file of the variants.
    """

    name: str
    changes: dict[str, str | bool | int | float | list[float] | None] = field(default_factory=dict)
    why: str = ""
    curves: list[str] = field(default_factory=list)

    @property
    def flags(self) -> list[str]:
        """What makes `fit` train it, behind the row's file."""
        told = {key.removesuffix(".class_path"): value for key, value in self.changes.items()}
        return [f"--{key}={as_argument(value)}" for key, value in told.items()]


def read_variants(collection: Collection, row: Row) -> tuple[list[Candidate], list[str]]:
    """Reads the candidates of a row, and lists the files with curves that are not here: a wheel comes without docs/.

    Raises:
        UserError: if there is no such file, or it is wrong.
    """
    file = collection.folder / "variants" / f"{row.reproduction.row}.yaml"
    if not file.is_file():
        known = ", ".join(path.stem for path in _files(collection)) or "no row has any"
        raise UserError(f"{file} is missing, which would list the variants of the row; those there are: {known}")
    candidates, mistakes = _read(file, row)
    if mistakes:
        raise UserError("\n".join(mistakes))
    missing = []
    for candidate in candidates:
        paths = [file.parent / curve for curve in candidate.curves]
        missing += [str(path) for path in paths if not path.is_file()]
        candidate.curves = [str(path) for path in paths if path.is_file()]
    return candidates, missing


def mistakes_in_variants(collection: Collection) -> list[str]:
    """Writes a sentence on each mistake in the collection's files of variants."""
    found, names = [], {path.stem for path in collection.row_files}
    for file in _files(collection):
        if file.stem not in names:
            right = did_you_mean(file.stem, names) or "`rows` lists the ids"
            found.append(f"{file}:1: the file is called after the row {file.stem}, which does not exist; {right}")
        elif file.stem in collection.rows:
            found += _read(file, collection.rows[file.stem])[1]
    return found


def _files(collection: Collection) -> list[Path]:
    return sorted((collection.folder / "variants").glob("*.yaml"))


def _read(file: Path, row: Row) -> tuple[list[Candidate], list[str]]:
    names: set[str] = set()

    def check(source: Source, keys: Keys, candidate: Candidate) -> bool:
        if candidate.name in names:
            source.refuse((*keys, "name"), f"two candidates have the name {candidate.name}")
        names.add(candidate.name)
        where = (*keys, "changes")
        for key in candidate.changes:
            if key.partition(".")[0] not in GROUPS:
                right = f"it must begin with one of {', '.join(GROUPS)}"
                source.refuse(where, f"{name_of(where)} has the key {key}; {right}")
        for unknown, told in unknown_names(_changed(row.config, candidate.changes)):
            if name_of(unknown) in candidate.changes:  # another class leaves the row's own arguments out
                source.refuse((*where, name_of(unknown)), f"{name_of(where)}: {told}")
        return True

    lists, mistakes = read_lists(file, {"candidates": Candidate}, check)
    return lists["candidates"], mistakes


def _changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration with some settings changed."""
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner = changed
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                break
        else:
            inner[last] = value
    return changed
