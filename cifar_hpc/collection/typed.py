"""Turns what YAML or JSON holds into dataclasses, by their annotations, and tells every mistake with its key.

jsonargparse does the same in fifty times the time, and stops at the first mistake.
"""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Keys = Sequence[str | int]
"""The way to a value: names of mappings' keys and places in lists, counted from 0."""

_KINDS = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
    NoneType: "null",
}
_WRONG: Any = object()
"""Stands for a value that is not of its type."""


class Printed(float):
    """A number with its digits as they are printed: YAML's 55.50 is 55.5, and its "55.50" keeps the zero.

    Attributes:
        text: the digits.
    """

    text: str

    def __new__(cls, text: str | float) -> "Printed":
        """Reads the number.

        Raises:
            ValueError: if the text is none.
        """
        made = super().__new__(cls, _ascii(text) if isinstance(text, str) else text)
        made.text = str(text).strip()
        return made

    def __str__(self) -> str:
        return self.text


def _ascii(text: str) -> str:
    """Returns the text if it may be a number as people print it: Python alone reads 1_0 or digits of other scripts.

    Raises:
        ValueError: if it can be none.
    """
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return text


@dataclass(frozen=True)
class Must:
    """What a value must be besides its type, as a part of `Annotated`.

    Attributes:
        holds: tells whether a value is so.
        words: the same in words, behind "it must be".
    """

    holds: Callable[[Any], object]
    words: str


class MismatchError(Exception):
    """A value is not of its type.

    Args:
        keys: where it stands; empty for the whole.
        value: what stands there; `...` where nothing does.
        right: what would be right, in words behind "it must be"; "known" for a key that is not known.
    """

    def __init__(self, keys: Keys, value: Any, right: str) -> None:
        self.keys, self.value, self.right = tuple(keys), value, right
        super().__init__(self.sentence())

    @property
    def key(self) -> str:
        """Where it stands, as `curve[3].epoch`."""
        return name_of(self.keys)

    def sentence(self) -> str:
        """Says the mistake in words."""
        if self.value is ...:
            return f"{name_of(self.keys[:-1]) or 'the file'} misses the key {self.keys[-1]}"
        return f"{self.key} is {shown(self.value)}; it must be {self.right}"


class UnknownKeyError(MismatchError):
    """A mapping has a key that nobody asks for; `right` is what it may have."""

    def sentence(self) -> str:
        """Says the mistake in words."""
        return f"{name_of(self.keys[:-1]) or 'the file'} has the key {self.keys[-1]}; {self.right}"


class NoTextError(MismatchError):
    """A key of a mapping is no text, though it may look like one; `right` is what YAML makes of it."""

    def sentence(self) -> str:
        """Says the mistake in words."""
        where, key = name_of(self.keys[:-1]) or "the file", shown(self.value).strip('"')
        return f"{where} has the id {key}, which YAML reads as {self.right}; put the id {key} in quotes"


Tell = Callable[[MismatchError], None]
"""A function that is told each mistake."""


def build(kind: type[T], value: Any, strict: bool = True) -> T:
    """Makes a value of a type from plain data.

    Args:
        kind: a dataclass, whose fields are dataclasses, lists, mappings, literals, texts, numbers, or optional.
        value: plain data.
        strict: for files that people write: keys that a dataclass does not have are refused, else passed over, and a
            number may be a text, which keeps its digits.

    Raises:
        MismatchError: if anything is not of its type; says where.
    """
    mistakes: list[MismatchError] = []
    made = build_and_tell(kind, value, mistakes.append, (), strict)
    if mistakes:
        raise mistakes[0]
    assert made is not None
    return made


def build_and_tell(kind: type[T], value: Any, tell: Tell, keys: Keys = (), strict: bool = True) -> T | None:
    """Makes a value of a type from plain data; null where that is not of the type.

    Args:
        kind: see `build`.
        value: plain data.
        tell: is told each mistake.
        keys: where the value stands.
        strict: see `build`.
    """
    made = _build(kind, value, tell, tuple(keys), strict)
    return None if made is _WRONG else made


def _build(kind: Any, value: Any, tell: Tell, keys: Keys, strict: bool) -> Any:
    if type(value) is kind:
        return value
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        made = _build(parts[0], value, tell, keys, strict)
        for must in parts[1:] if made is not _WRONG else ():
            if not must.holds(made):
                tell(MismatchError(keys, value, must.words))
                return _WRONG
        return made
    if origin in (Union, UnionType):
        return _first(parts, value, tell, keys, strict)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value, tell, keys, strict)
    if kind is Any:
        return value
    if origin is Literal and any(type(value) is type(part) and value == part for part in parts):
        return value
    if origin is list and isinstance(value, list):
        made = [_build(parts[0], part, tell, (*keys, place), strict) for place, part in enumerate(value)]
        return _WRONG if any(part is _WRONG for part in made) else made
    if origin is dict and isinstance(value, dict):
        odd = [name for name in value if not isinstance(name, str)]
        for name in odd:
            tell(NoTextError((*keys, name), name, _KINDS.get(type(name), f"a {type(name).__name__}")))
        named = {
            name: _build(parts[1], part, tell, (*keys, name), strict) for name, part in value.items() if name not in odd
        }
        return _WRONG if odd or any(part is _WRONG for part in named.values()) else named
    if kind in (int, float) and isinstance(value, str) and strict:
        with suppress(ValueError):
            return int(_ascii(value)) if kind is int else Printed(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if isinstance(value, float) or abs(value) < 1e300 else math.inf
    tell(MismatchError(keys, value, _right(kind)))
    return _WRONG


def _dataclass(kind: Any, value: dict[Any, Any], tell: Tell, keys: Keys, strict: bool) -> Any:
    hints, needed = _fields(kind)
    unknown = [key for key in value if key not in hints] if strict else []
    meant: list[str] = []
    for key in unknown:
        near = get_close_matches(str(key), hints, 1)
        meant += near
        told = f"did you mean {near[0]}?" if near else f"it may have {', '.join(hints)}"
        tell(UnknownKeyError((*keys, key), value[key], told))
    missing = [name for name in needed if name not in value]
    for name in missing:
        if name not in meant:
            tell(MismatchError((*keys, name), ..., "there"))
    made = {n: _build(hints[n], part, tell, (*keys, n), strict) for n, part in value.items() if n in hints}
    wrong = unknown or missing or any(part is _WRONG for part in made.values())
    return _WRONG if wrong else kind(**made)


def _first(parts: tuple[Any, ...], value: Any, tell: Tell, keys: Keys, strict: bool) -> Any:
    """Makes a value of the first type that it fits; where it fits none, the type that it comes closest to tells why."""
    refused = []
    for part in parts:
        mistakes: list[MismatchError] = []
        made = _build(part, value, mistakes.append, keys, strict)
        if made is not _WRONG:
            return made
        refused.append(mistakes)
    deepest = max(refused, key=lambda mistakes: len(mistakes[0].keys))
    if len(deepest[0].keys) > len(keys):
        for mistake in deepest:
            tell(mistake)
    else:
        tell(MismatchError(keys, value, " or ".join(dict.fromkeys(mistakes[0].right for mistakes in refused))))
    return _WRONG


def _right(kind: Any) -> str:
    """Says what a type asks for, in words."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return _KINDS.get(get_origin(kind) or kind, "a mapping")


@cache
def _fields(kind: type[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the types of a dataclass' fields, and which of them must be given."""
    needed = tuple(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    return get_type_hints(kind, include_extras=True), needed


def name_of(keys: Keys) -> str:
    """Writes a key as messages name it: `reported.curve[3].seconds`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def shown(value: Any) -> str:
    """Writes a value as JSON has it, in plain ASCII and cut short, so that a message can hold what anybody wrote."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):  # nothing that JSON could hold
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"
