"""Reads YAML as PyYAML does, but for a key that stands twice in one mapping, where the later would silently win."""

from typing import Any

import yaml

_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is installed, which is ten times as fast."""


class RepeatedKeyError(yaml.YAMLError):
    """A key stands twice in one mapping."""


class UniqueKeys(_FASTEST):  # type: ignore[misc]
    """Loads plain data from YAML whose mappings have each key once."""

    def construct_document(self, node: yaml.Node) -> Any:
        """Makes the data.

        Raises:
            RepeatedKeyError: if a key stands twice in a mapping; names the key and both lines.
        """
        seen, waiting = {id(node)}, [node]
        while waiting:
            node_here = waiting.pop()
            if isinstance(node_here, yaml.MappingNode):
                _check_keys(node_here)
                inner = [value for _, value in node_here.value]
            else:
                inner = node_here.value if isinstance(node_here, yaml.SequenceNode) else []
            # An alias is its anchor's node once more.
            waiting += [each for each in inner if id(each) not in seen]
            seen |= set(map(id, inner))
        return super().construct_document(node)


def _check_keys(mapping: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if (key.tag, key.value) in first:
                raise RepeatedKeyError(
                    f"the key {key.value} stands on line {first[key.tag, key.value]} and again on line {line}"
                )
            first[key.tag, key.value] = line
