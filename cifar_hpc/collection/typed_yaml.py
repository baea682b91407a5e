"""Reads YAML files that hold lists of like items, each item into a dataclass."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys, name_of
from cifar_hpc.errors import UserError, shortened

ItemCheck = Callable[[Source, Keys, Any], bool]
"""A function that notes what is wrong with an item, given the file and its keys, and tells whether it can be used."""


def read_lists(path: Path, kinds: dict[str, type[Any]], check: ItemCheck) -> tuple[dict[str, list[Any]], list[str]]:
    """Reads a file whose top-level keys hold lists. Items with a mistake are left out.

    Args:
        path: the file, which may be missing.
        kinds: for each top-level key, which may be missing, the dataclass of its items.
        check: checks an item whose types are right.

    Returns:
        The items by top-level key, and a sentence on each mistake.
    """
    found: dict[str, list[Any]] = {key: [] for key in kinds}
    if not path.exists():
        return found, []
    try:
        source = Source(path)
    except UserError as error:
        return found, [str(error)]
    source.refuse_repeated_keys()
    for key in source.content.keys() - kinds.keys():
        source.refuse((key,), f"the file has the key {key}; it may have {', '.join(kinds)}")
    for key, kind in kinds.items():
        items = source.content.get(key)
        if items is not None and not isinstance(items, list):
            source.refuse((key,), f"{key} is {items}; it must be a list")
            continue
        for index, item in enumerate(items or []):
            made = source.build(kind, item, (key, index))
            if made is not None and check(source, (key, index), made):
                found[key].append(made)
    return found, source.in_order()


def knows_report(collection: Collection, source: Source, keys: Keys, report: str) -> bool:
    """Checks whether an item's report is one of the collection; notes it if not."""
    if report not in collection.reports:
        known = shortened(", ".join(collection.reports), 120)
        source.refuse((*keys, "report"), f"{name_of(keys)}.report is {report}; it must be one of {known}")
    return report in collection.reports


def knows_rows(collection: Collection, source: Source, keys: Keys, names: Iterable[str]) -> bool:
    """Checks whether an item names sound rows only; notes those that do not exist (of broken ones their files tell)."""
    names, files = list(names), {file.stem for file in collection.row_files}
    for name in dict.fromkeys(names):
        if name not in files:
            source.refuse(keys, f"{name_of(keys)} names the row {name}, which does not exist; `rows` lists the ids")
    return collection.rows.keys() >= set(names)
