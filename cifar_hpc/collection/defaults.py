"""What a configuration file leaves out, known without the parser and without torch.

`defaults.json` holds what LightningCLI would fill in; `make docs` writes it, and a test holds it against the parser.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
GROUPS = ("trainer", "model", "data")
"""The parts of a configuration that make and run an experiment."""


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """The groups of a configuration with the defaults of all that it leaves out, as a run's config.yaml has them."""
    known = _defaults()
    return {
        "trainer": known["trainer"] | (config.get("trainer") or {}),
        "model": _resolve_class(config.get("model")),
        "data": known["data"] | (config.get("data") or {}),
    }


def _resolve_class(value: Any) -> Any:
    """A class and its arguments with their defaults; anything else as it is."""
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


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
