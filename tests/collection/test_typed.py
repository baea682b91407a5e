"""The quick way from YAML to dataclasses takes what jsonargparse takes, and gives the same."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentError, ArgumentParser

from cifar_hpc.collection.reproduction import Reproduction
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.collection.typed import MismatchError, build
from tests.conftest import COLLECTION

FILES = COLLECTION.row_files
GROUP: dict[str, Any] = read_yaml(FILES[0])["reproduction"]
KEYS = ["row", "report", "margin_percent", "trainable_parameters", "reported", "reported.epochs", "reported.curve",
        "reported.test_accuracy_percent", "reported.curve.0.epoch", "settings", "settings.architecture",
        "settings.architecture.origin", "settings.architecture.where", "no_such_key"]  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers(-2, 200) | st.floats(0, 100) | st.sampled_from(
    ["", "report", "stated", "12", "1e3", [], [1], {}, {"epoch": 1}, {"origin": "stated", "where": "here"}]
)  # fmt: skip


def by_jsonargparse(group: dict[str, Any]) -> Reproduction:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Reproduction, "reproduction")
    found: Reproduction = parser.instantiate(parser.parse_object({"reproduction": group})).reproduction
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rows_are_read_the_same(path: Path) -> None:
    group = read_yaml(path)["reproduction"]
    assert build(Reproduction, group) == by_jsonargparse(group)


@given(st.sampled_from(KEYS), VALUES)
def test_what_it_takes_jsonargparse_takes_too(key: str, value: Any) -> None:
    group = copy.deepcopy(GROUP)
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    part: Any = group
    for parent in parents:
        part = part[parent]
    part[last] = value
    try:
        found = build(Reproduction, group)
    except MismatchError:
        return  # jsonargparse decides, and says what is wrong
    try:
        assert found == by_jsonargparse(group)
    except ArgumentError as error:
        pytest.fail(f"{key}: {value!r} is refused by jsonargparse: {error}")


@pytest.mark.parametrize("text", ["９３.10", "٩٣", "1_0.5", "1_0", "0x60", "9３", "½", ""])
@pytest.mark.parametrize("key", ["test_accuracy_percent", "epochs", "std_percent"])
def test_only_digits_as_people_print_them_are_numbers(text: str, key: str) -> None:
    with pytest.raises(MismatchError, match=f"reported.{key} is .*it must be a (whole )?number"):
        build(Reproduction, {"reported": {key: text}})
