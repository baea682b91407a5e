"""What a configuration file leaves out, known without the parser and without torch.

`defaults.json` holds what LightningCLI would fill in; `make docs` writes it, and a test holds it against the parser.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from cifar_hpc.collection.typed import Keys, name_of, shown
from cifar_hpc.errors import did_you_mean

FILE = Path(__file__).with_suffix(".json")
GROUPS = ("trainer", "model", "data")
"""The parts of a configuration that make and run an experiment."""


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Fills in the defaults of all that a configuration's groups leave out, as a run's config.yaml has them."""
    known = _defaults()
    return {
        "trainer": known["trainer"] | (config.get("trainer") or {}),
        "model": _resolve_class(config.get("model")),
        "data": known["data"] | (config.get("data") or {}),
    }


def _resolve_class(value: Any) -> Any:
    """Fills in the defaults of a class, and of the classes among its arguments; leaves anything else as it is."""
    known = _defaults()
    if isinstance(value, str) and value in known:
        value = {"class_path": value}
    if not isinstance(value, dict) or not isinstance(value.get("class_path"), str):
        return value
    given = value.get("init_args") or {}
    if not isinstance(given, dict):
        return value
    arguments = known.get(value["class_path"], {}) | given
    return value | {"init_args": {key: _resolve_class(argument) for key, argument in arguments.items()}}


def unknown_names(config: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    """Yields each name in a configuration that `fit` would not know, as its key and a sentence on it.

    Of torch, which may be newer than what is known here, only names that look mistyped; of others' classes, none.

    Args:
        config: configuration of a row; parts of it that are no mappings are passed over.
    """
    known = _defaults()
    for group in ("trainer", "data"):
        for key in _mapping(config.get(group)).keys() - known[group].keys():
            told = did_you_mean(str(key), known[group]) or f"`fit --help={group}` lists its keys"
            yield (group, key), f"{group} has the key {key}; {told}"
    yield from _unknown_in_class(config.get("model"), ("model",))


def _unknown_in_class(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    value = _mapping(value)
    path, where, init_args = value.get("class_path"), (*keys, "class_path"), (*keys, "init_args")
    if not isinstance(path, str):
        return
    module, _, name = path.rpartition(".")
    classes = [known.rpartition(".") for known in _defaults() if "." in known]
    siblings = {last: f"{of}.{last}" for of, _, last in classes if module in ("", of)}
    near = did_you_mean(name, siblings)
    if name not in siblings and (near or module == _OUR_MODELS):
        yield where, f"{name_of(where)} is {shown(path)}; {near or 'its last part may be ' + ', '.join(siblings)}"
    arguments = _defaults()[siblings[name]] if name in siblings else None
    for key, argument in _mapping(value.get("init_args")).items():
        if arguments is None or key in arguments:
            yield from _unknown_in_class(argument, (*init_args, key))
        elif (near := did_you_mean(str(key), arguments)) or siblings[name].startswith(_OUR_MODELS):
            told = near or f"it may have {', '.join(arguments)}"
            yield (*init_args, key), f"{name_of(init_args)} has the key {key}; {told}"


_OUR_MODELS = "cifar_hpc.models"


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
