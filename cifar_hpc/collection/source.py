"""Reads YAML files and remembers on which line each key stands, so that every mistake can be told with its place."""

from pathlib import Path
from typing import Any, TypeVar

import yaml

from cifar_hpc.collection.typed import Keys, build_and_tell
from cifar_hpc.errors import UserError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is installed, which is ten times as fast."""

T = TypeVar("T")


class Source:
    """A YAML file that holds a mapping, with the mistakes found in it so far.

    Args:
        path: the file.

    Raises:
        UserError: if it is missing, no YAML, or no mapping; names the line where there is one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[str] = []
        try:
            loader = _LOADER(path.read_text(encoding="utf-8"))
            self._node: Any = loader.get_single_node()
            content = None if self._node is None else loader.construct_document(self._node)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{path}:{mark.line + 1}" if mark else str(path)
            raise UserError(f"{place}: this is no valid YAML: {error.problem or error.context}") from error
        except (yaml.YAMLError, ValueError) as error:  # among them what is no text at all
            raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise UserError(f"{path} must hold a mapping of keys, not {type(content).__name__}")
        self.content: dict[str, Any] = content

    def line(self, keys: Keys) -> int:
        """The line, from 1, of the deepest part of a key that is there."""
        node = self._node
        line = node.start_mark.line
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in reversed(node.value) if k.value == str(key)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line
            else:
                break
        return int(line) + 1

    def refuse(self, keys: Keys, sentence: str) -> None:
        """Notes a mistake.

        Args:
            keys: of the value that is wrong.
            sentence: what is wrong with it, and what would be right; begins with the key's name.
        """
        self.mistakes.append(f"{self.path}:{self.line(keys)}: {sentence}")

    def build(self, kind: type[T], value: Any, keys: Keys = ()) -> T | None:
        """Makes a part of the file into a dataclass, or notes each mistake in it.

        Args:
            kind: the dataclass.
            value: the part.
            keys: of the part.
        """
        return build_and_tell(kind, value, lambda mistake: self.refuse(mistake.keys, str(mistake)), keys)

    def refuse_repeated_keys(self) -> None:
        """Notes keys that stand twice in one mapping, of which YAML would take the later without a word."""
        nodes, known = [self._node], {id(self._node)}
        for node in nodes:
            inner = node.value if isinstance(node, yaml.SequenceNode) else []
            if isinstance(node, yaml.MappingNode):
                inner = [value for _, value in node.value]
                first: dict[str, int] = {}
                for key, _ in node.value:
                    line = key.start_mark.line + 1
                    earlier = first.setdefault(str(key.value), line)
                    if earlier != line:
                        told = f"the key {key.value} stands on line {earlier} and again on line {line}"
                        self.mistakes.append(f"{self.path}:{line}: {told}; each key must stand once")
            # An alias is its anchor's node once more.
            nodes += [each for each in inner if id(each) not in known]
            known |= set(map(id, inner))

    def check(self) -> None:
        """Refuses the file if a mistake was found.

        Raises:
            UserError: with a sentence, on a line of its own, for each mistake in the order of the file's lines.
        """
        if self.mistakes:
            raise UserError("\n".join(sorted(dict.fromkeys(self.mistakes), key=self._line_told)))

    def _line_told(self, mistake: str) -> int:
        return int(mistake.removeprefix(f"{self.path}:").partition(":")[0])


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that must hold a mapping.

    Raises:
        UserError: if it is missing, no YAML, no mapping, or has a key twice.
    """
    source = Source(path)
    source.refuse_repeated_keys()
    source.check()
    return source.content
