"""Faults put in on purpose: kills, hostile bytes, full disks. Seeded, so that each can be had again by its number.

The default run takes a sample of each kind; `make faults` takes all.
"""

import os
from typing import Any

ALL = os.environ.get("FAULTS") == "all"


def numbers(all_of_them: int, sample: int) -> range:
    """The numbers of the faults of one kind that this run takes."""
    return range(all_of_them) if ALL else range(0, all_of_them, -(-all_of_them // sample))


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys of all values in nested content."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return ([path] if path else []) + [place for key, inner in items for place in places(inner, (*path, key))]


def holder_of(content: Any, place: tuple[Any, ...]) -> Any:
    """The mapping or list in nested content in which the value at a place stands."""
    for key in place[:-1]:
        content = content[key]
    return content
