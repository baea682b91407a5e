"""Reads YAML files and remembers on which line each key stands, so that every mistake can be told with its place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cifar_hpc.collection.bounded_yaml import read_bounded
from cifar_hpc.collection.typed import Keys, MismatchError, NoTextError, build_and_tell, shown
from cifar_hpc.errors import UserError, one_line

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is installed, which is ten times as fast."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
"""What YAML calls the kinds of numbers."""

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
            loader = _LOADER(read_bounded(path))
            self._node: Any = loader.get_single_node()
            self._repeated = list(repeated_keys(self._node))  # before merge keys are written out
            content = None if self._node is None else loader.construct_document(self._node)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{path}:{mark.line + 1}" if mark else str(path)
            told = ", ".join(filter(None, (error.context, error.problem)))
            raise UserError(f"{place}: this is no valid YAML: {told}") from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UserError(f"{path}:{line}: this is no text in UTF-8, so it is no valid YAML") from error
        except Exception as error:  # what stands for no value can raise nearly anything
            raise UserError(f"{path}:1: this is no valid YAML: {one_line(error)}") from error
        if not isinstance(content, dict):
            found = "nothing" if content is None else shown(content)
            raise UserError(f"{path}:1: the file must hold a mapping of keys, not {found}")
        self.content: dict[str, Any] = content

    def line(self, keys: Keys) -> int:
        """Finds the line, from 1, of the deepest part of a key that is there."""
        return self._find(keys)[0]

    def spelling(self, keys: Keys) -> str | None:
        """Finds how the file spells a number, of which YAML has many ways; null where none stands under the keys."""
        node = self._find(keys)[1]
        return node.value if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS else None

    def _find(self, keys: Keys) -> tuple[int, Any]:
        """Finds the line, from 1, of the deepest part of a key that is there, and the node if it is the whole key's."""
        node = self._node
        line = node.start_mark.line + 1
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in reversed(node.value) if _is_key(k, key)), None)
                if found is None:
                    return line, None
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                return line, None
        return line, node

    def refuse(self, keys: Keys, sentence: str) -> None:
        """Notes a mistake.

        Args:
            keys: keys that lead to the value that is wrong.
            sentence: what is wrong with it, and what would be right; begins with the key's name.
        """
        self.mistakes.append(f"{self.path}:{self.line(keys)}: {sentence}")

    def build(self, kind: type[T], value: Any, keys: Keys = ()) -> T | None:
        """Makes a part of the file into a dataclass, or notes each mistake in it.

        Args:
            kind: the dataclass.
            value: the part.
            keys: keys that lead to the part.
        """

        def tell(mistake: MismatchError) -> None:
            if isinstance(mistake, NoTextError):  # as the file spells it
                mapping = self._find(mistake.keys[:-1])[1]
                mistake.value = next(k.value for k, _ in mapping.value if _is_key(k, mistake.keys[-1]))
            self.refuse(mistake.keys, mistake.sentence())

        return build_and_tell(kind, value, tell, keys)

    def refuse_repeated_keys(self) -> None:
        """Notes keys that stand twice in one mapping, of which YAML would take the later without a word."""
        self.mistakes += [f"{self.path}:{line}: {told}" for line, told in self._repeated]

    def in_order(self) -> list[str]:
        """Returns the mistakes, each once, in the order of the file's lines."""
        return sorted(dict.fromkeys(self.mistakes), key=self._line_told)

    def check(self) -> None:
        """Refuses the file if a mistake was found.

        Raises:
            UserError: with a sentence, on a line of its own, for each mistake in the order of the file's lines.
        """
        if self.mistakes:
            raise UserError("\n".join(self.in_order()))

    def _line_told(self, mistake: str) -> int:
        return int(mistake.removeprefix(f"{self.path}:").partition(":")[0])


def _is_key(node: Any, key: Any) -> bool:
    """Checks whether a node is a mapping's key, which YAML may read as no text."""
    if isinstance(key, str) or not isinstance(node, yaml.ScalarNode):
        return bool(node.value == key)
    return bool(yaml.load(node.value, _LOADER) == key)


def repeated_keys(root: Any) -> Iterator[tuple[int, str]]:
    """Yields each key that stands twice in one mapping, as the line where it does and a sentence.

    Args:
        root: a node as PyYAML composes it; null for an empty text.
    """
    nodes, known = [root], {id(root)}
    for node in nodes:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            inner = [value for _, value in node.value]
            first: dict[tuple[str, str], int] = {}
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                line = key.start_mark.line + 1
                if earlier := first.get((key.tag, key.value)):
                    told = f"the key {key.value} stands on line {earlier} and again on line {line}"
                    yield line, f"{told}; each key must stand once"
                first.setdefault((key.tag, key.value), line)
        # An alias is its anchor's node once more.
        nodes += [each for each in inner if id(each) not in known]
        known |= set(map(id, inner))


def refuse_repeated_keys(text: str) -> None:
    """Refuses YAML in which a key stands twice in one mapping; what else is wrong with it is for its loader to tell.

    Raises:
        UserError: naming the key and both lines.
    """
    try:
        mistakes = [told for _, told in repeated_keys(yaml.compose(text, Loader=_LOADER))]
    except yaml.YAMLError:
        return
    if mistakes:
        raise UserError(f"A file or value of the configuration is wrong: {mistakes[0]}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that must hold a mapping.

    Raises:
        UserError: if it is missing, no YAML, no mapping, or has a key twice.
    """
    source = Source(path)
    source.refuse_repeated_keys()
    source.check()
    return source.content
