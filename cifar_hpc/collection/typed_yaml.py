"""Reads YAML files that hold lists of like items, each item into a dataclass, with LightningCLI's types."""

from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cifar_hpc.collection.messages import explain_parser_error
from cifar_hpc.collection.reproduction import read_yaml
from cifar_hpc.errors import UserError

T = TypeVar("T")


def read_lists(path: Path, kinds: dict[str, type[Any]]) -> dict[str, list[Any]]:
    """Reads a file whose top-level keys hold lists.

    Args:
        path: the YAML.
        kinds: for each top-level key, all of which are needed, the dataclass of its items.

    Raises:
        UserError: if the file is no such thing; names it, the item and the key.
    """
    content = read_yaml(path)
    _check_keys(content, set(kinds), set(kinds), str(path))
    found = {}
    for key, kind in kinds.items():
        if not isinstance(content[key], list):
            raise UserError(f"{path}: {key} is {content[key]}; it must be a list")
        found[key] = [_item(item, kind, path, f"{key}[{index}]") for index, item in enumerate(content[key])]
    return found


def _item(item: Any, kind: type[T], path: Path, name: str) -> T:
    from jsonargparse import ArgumentError

    if not isinstance(item, dict):
        raise UserError(f"{path}: {name} is {item}; it must hold a mapping of keys")
    known = fields(kind)  # type: ignore[arg-type]
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    _check_keys(item, needed, {f.name for f in known}, f"{path}: {name}")
    parser = _parser(kind)  # type: ignore[arg-type]
    try:
        parsed = parser.instantiate_classes(parser.parse_object({"item": item}))
    except ArgumentError as error:
        raise UserError(explain_parser_error(str(error), [path], []).replace("item.", f"{name}.", 1)) from error
    made: T = parsed.item
    return made


def _check_keys(content: dict[str, Any], needed: set[str], known: set[str], where: str) -> None:
    if missing := sorted(needed - set(content)):
        raise UserError(f"{where} misses the key {missing[0]}")
    if unknown := sorted(set(map(str, content)) - known):
        raise UserError(f"{where} has the key {unknown[0]}; it may have {', '.join(sorted(known))}")


@cache
def _parser(kind: type[Any]) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "item")
    return parser
