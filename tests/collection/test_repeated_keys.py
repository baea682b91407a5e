"""A key that stands twice in one mapping of a YAML file is refused, wherever it is."""

from pathlib import Path

import pytest
import yaml

from cifar_hpc.collection.source import read_yaml, refuse_repeated_keys
from cifar_hpc.errors import UserError

TWICE = {
    "trainer:\n  a: 1\nmodel: {}\ntrainer:\n  b: 2\n": "the key trainer stands on line 1 and again on line 4",
    "trainer:\n  a: 1\n  'a': 2\n": "the key a stands on line 2 and again on line 3",
    "list:\n  - x: {a: 1, b: 2, a: 3}\n": "the key a stands on line 2 and again on line 2",
    "1: a\n1: b\n": "the key 1 stands on line 1 and again on line 2",
    "base: &base\n  a: 1\n  a: 2\nother: *base\n": "the key a stands on line 2 and again on line 3",
}


@pytest.mark.parametrize("text", TWICE)
def test_a_key_that_stands_twice_is_told_with_both_lines(text: str, tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="each key must stand once") as told:
        read_yaml(file)
    assert str(told.value).startswith(f"{file}:{TWICE[text].rpartition(' ')[2]}: {TWICE[text]}")
    with pytest.raises(UserError) as told:
        refuse_repeated_keys(text)
    assert TWICE[text] in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: {x: 1}\nb: {x: 2}\n",
        "1: a\n'1': b\n",
        "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nthird: {<<: *base, a: 3}\n",
        "one: &one {a: 1}\ntwo: &two {<<: *one, a: 2}\nthree: {deep: {<<: *two, a: 3}}\n",
        "deep: {deeper: {<<: &x {<<: &y {a: 1}, a: 2}, a: 3}}\nagain: *x\n",
    ],
)
def test_what_is_no_repetition_loads_as_ever(text: str, tmp_path: Path) -> None:
    (tmp_path / "sound.yaml").write_text(text)
    assert repr(read_yaml(tmp_path / "sound.yaml")) == repr(yaml.safe_load(text))
    refuse_repeated_keys(text)
