"""Bounds YAML before anything is made of it: a kilobyte of it can stand for any number of values, or end the process.

libyaml's parser, which gives one event after the other, takes all of it in its stride; what makes values of the events
goes as deep as they do, and copies what an alias stands for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cifar_hpc.errors import UserError, one_line

MOST_CHARACTERS = 1 << 20
DEEPEST = 50
MOST_VALUES = 100_000
"""Most values that a file may stand for; those of an alias count as often as it is named."""
_MOST_BRACKETS = 1_000
"""Most brackets in one text, which jsonargparse may read as YAML once more."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BoundsError(yaml.YAMLError):
    """YAML that is larger than any configuration."""


def read_bounded(path: Path) -> str:
    """Reads the text of a YAML file, within bounds.

    Raises:
        BoundsError: if it is larger than any configuration.
        OSError: if it cannot be read.
        UnicodeDecodeError: if it is no UTF-8.
    """
    with path.open("rb") as file:
        return bounded(file.read(4 * MOST_CHARACTERS + 1).decode("utf-8"))


def bounded(text: str) -> str:
    """Returns the same text if it is within bounds; what else may be wrong with it, a loader says better.

    Raises:
        BoundsError: if it is longer, or nests deeper, or stands for more values than any configuration.
    """
    if len(text) > MOST_CHARACTERS:
        raise BoundsError(f"it has more than {MOST_CHARACTERS:,} characters")
    anchors: dict[str, int] = {}
    open_nodes: list[list[Any]] = [["", 0]]  # the anchor of each, and how many values it stands for so far
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            anchor = getattr(event, "anchor", None)
            if isinstance(event, yaml.ScalarEvent):
                _check_text(event.value)
                values = 1
            elif isinstance(event, yaml.AliasEvent):
                if anchor not in anchors:
                    raise BoundsError(f"the alias {anchor} stands within itself, or for nothing")
                values = anchors[anchor]
            elif isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append([anchor, 1])
                if len(open_nodes) > DEEPEST:
                    raise BoundsError(f"it nests more than {DEEPEST} levels deep")
                continue
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, values = open_nodes.pop()
            else:
                continue
            if anchor and not isinstance(event, yaml.AliasEvent):
                anchors[anchor] = values
            open_nodes[-1][1] += values
            if open_nodes[-1][1] > MOST_VALUES:
                raise BoundsError(f"it stands for more than {MOST_VALUES:,} values")
    except BoundsError:
        raise
    except (yaml.YAMLError, UnicodeError):
        pass
    return text


def _check_text(text: str) -> None:
    if len(text) > _MOST_BRACKETS and sum(map(text.count, ("[", "{", "- ", "? "))) > _MOST_BRACKETS:
        raise BoundsError(f"a text in it has more than {_MOST_BRACKETS:,} brackets or dashes")


def guarded(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Makes a loader take YAML within bounds only, and call wrong whatever it cannot make a value of.

    Args:
        load: the loader; PyYAML's stumbles over `!!int x`, the 45th of a month and numbers of 5,000 digits.
    """

    def load_bounded(text: str) -> Any:
        try:
            return load(bounded(text))
        except (yaml.YAMLError, UserError):
            raise
        except Exception as error:
            raise yaml.YAMLError(f"a value in it is none: {one_line(error)}") from error

    return load_bounded
