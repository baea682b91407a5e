"""Turns plain data into dataclasses, by their annotations."""

from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


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
        made = super().__new__(cls, text)
        made.text = str(text).strip()
        return made

    def __str__(self) -> str:
        return self.text


class MismatchError(Exception):
    """A value is not of its type. Which one, and what would be right, is jsonargparse's to say."""


def build(kind: type[T], value: Any) -> T:
    """Makes a value of a type from what YAML holds.

    jsonargparse does the same, and says what is wrong, in fifty times the time: what commands read at every start is
    tried here first.

    Args:
        kind: a dataclass, whose fields are dataclasses, lists, mappings, literals, texts, numbers, or optional.
        value: plain data; a number may be a text, which keeps its digits.

    Raises:
        MismatchError: if anything is not of its type.
    """
    made: T = _build(kind, value)
    return made


def _build(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints, needed = _fields(kind)
        if isinstance(value, dict) and value.keys() <= hints.keys() and needed <= value.keys():
            return kind(**{key: _build(hints[key], part) for key, part in value.items()})
    elif origin in (Union, UnionType):
        for part in parts:
            try:
                return _build(part, value)
            except MismatchError:
                continue
    elif origin is Literal:
        if value in parts:
            return value
    elif origin is list:
        if isinstance(value, list):
            return [_build(parts[0], part) for part in value]
    elif origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _build(parts[1], part) for key, part in value.items()}
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return Printed(value)
    elif kind is int and isinstance(value, str):
        with suppress(ValueError):
            return int(value)
    elif kind is NoneType:
        if value is None:
            return None
    elif type(value) is kind:
        return value
    raise MismatchError(f"{value!r} is no {kind}")


@cache
def _fields(kind: type[Any]) -> tuple[dict[str, Any], set[str]]:
    """Types of a dataclass' fields, and which of them must be given."""
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    return get_type_hints(kind), needed
