"""Turns plain data into dataclasses, by their annotations."""

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_KINDS = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


@dataclass(frozen=True)
class Must:
    """What a value must be besides its type, as a part of `Annotated`.

    Attributes:
        holds: whether it is so.
        words: the same in words, behind "it must be".
    """

    holds: Callable[[Any], object]
    words: str


class MismatchError(Exception):
    """A value is not of its type.

    Args:
        key: where it stands, as `curve[3].epoch`; empty for the whole.
        value: what stands there; `...` where nothing does.
        right: what would be right, in words.
    """

    def __init__(self, key: str, value: Any, right: str) -> None:
        super().__init__(f"{key} is {shown(value)}; it must be {right}")
        self.key, self.value, self.right = key, value, right


def build(kind: type[T], value: Any, key: str = "", strict: bool = True) -> T:
    """Makes a value of a type from what YAML or JSON holds.

    jsonargparse does the same, and says more of what is wrong, in fifty times the time: what commands read at every
    start is read here.

    Args:
        kind: a dataclass, whose fields are dataclasses, lists, mappings, literals, texts, numbers, or optional.
        value: plain data.
        key: where it stands.
        strict: whether to refuse keys that a dataclass does not have; else they are passed over.

    Raises:
        MismatchError: if anything is not of its type; says where.
    """
    made: T = _build(kind, value, key, strict)
    return made


def _build(kind: Any, value: Any, key: str, strict: bool) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        made = _build(parts[0], value, key, strict)
        for must in parts[1:]:
            if not must.holds(made):
                raise MismatchError(key, value, must.words)
        return made
    if origin in (Union, UnionType):
        return _first(parts, value, key, strict)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, value, key, strict)
    if kind is Any:
        return value
    if origin is Literal:
        if value in parts:
            return value
        raise MismatchError(key, value, f"one of {', '.join(map(str, parts))}")
    if origin is list and isinstance(value, list):
        return [_build(parts[0], part, f"{key}[{place}]", strict) for place, part in enumerate(value)]
    if origin is dict and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _build(parts[1], part, f"{key}.{name}", strict) for name, part in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 or isinstance(value, float) else math.inf
    if type(value) is kind or (kind is NoneType and value is None):
        return value
    raise MismatchError(key, value, _KINDS.get(origin or kind, "null"))


def _dataclass(kind: Any, value: Any, key: str, strict: bool) -> Any:
    if not isinstance(value, dict):
        raise MismatchError(key, value, "a mapping")
    hints, needed = _fields(kind)
    within = f"{key}." if key else ""
    for name in needed:
        if name not in value:
            raise MismatchError(f"{within}{name}", ..., "there")
    if strict and not value.keys() <= hints.keys():
        raise MismatchError(key, value, f"a mapping with no keys but {', '.join(hints)}")
    return kind(**{n: _build(hints[n], v, f"{within}{n}", strict) for n, v in value.items() if n in hints})


def _first(parts: tuple[Any, ...], value: Any, key: str, strict: bool) -> Any:
    """A value of the first type that it fits."""
    refused = []
    for part in parts:
        try:
            return _build(part, value, key, strict)
        except MismatchError as error:
            refused.append(error)
    # What lies deeper tells more.
    deepest = max(refused, key=lambda error: len(error.key))
    right = deepest.right if len(deepest.key) > len(key) else " or ".join(error.right for error in refused)
    raise MismatchError(deepest.key, deepest.value, right)


@cache
def _fields(kind: type[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Types of a dataclass' fields, and which of them must be given."""
    needed = tuple(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    return get_type_hints(kind, include_extras=True), needed


def shown(value: Any) -> str:
    """A value as JSON has it, in plain ASCII and cut short, so that a message can hold what anybody wrote."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):  # nothing that JSON could hold
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"
