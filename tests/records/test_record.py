"""What is read back, and what is refused, in one sentence that names the file and the key."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_hpc.errors import UserError
from cifar_hpc.records import record
from cifar_hpc.records.predictions import read_predictions
from cifar_hpc.records.record import read_record
from tests import made_up
from tests.conftest import ROOT

KEPT = made_up.KEPT


def changed(tmp_path: Path, key: str, value: Any) -> Path:
    """A kept record with one value changed, or removed when it is `...`."""
    return made_up.write(tmp_path, made_up.content(**{key.replace(".", "__"): value}))


def test_a_kept_record_is_read() -> None:
    record = read_record(KEPT / "result.json")
    assert (record.name, record.seed, record.tier, record.epochs_done) == ("ghugre_sequential", 1, "full", 15)
    assert record.last("test_accuracy") == 0.7106


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("schema", 3, "is no record of schema 1 or 2: its key schema is 3"),
        ("schema", ..., "its key schema is null"),
        ("hardware", ..., "misses the key hardware"),
        ("epochs.done", ..., "misses the key epochs.done"),
        ("selection.last.f1", ..., "misses the key selection.last.f1"),
        ("selection.best_test.epoch", "ten", 'selection.best_test.epoch is "ten"; it must be a whole number'),
        ("selection.last", 0.71, "selection.last is 0.71; it must be a mapping or null"),
        ("selection.best_holdout", 0.71, "selection.best_holdout is 0.71; it must be a mapping or null"),
        ("selection.last.test_accuracy", 71.06, "selection.last.test_accuracy is 71.06; it must be a fraction of 1"),
        ("selection.last.train_accuracy", 82.6, "it must be a fraction of 1, not a percentage"),
        ("selection.last.recall", -0.1, "it must be a fraction of 1"),
        ("selection.last.precision", None, "selection.last.precision is null; it must be a number"),
        ("selection.last.test_loss", float("nan"), "it must be a finite number of at least 0"),
        ("curve.3.test_accuracy", 66.9, "curve[3].test_accuracy is 66.9; it must be a fraction of 1"),
        ("curve.3.epoch", 9, "ascending numbers from 1"),
        ("curve.3.train_loss", "low", 'curve[3].train_loss is "low"; it must be a number or null'),
        ("time.fit_seconds", float("inf"), "time.fit_seconds is Infinity; it must be a finite number"),
        ("seed", True, "seed is true; it must be a whole number"),
        ("status", "done", 'status is "done"; it must be one of complete, partial, failed'),
        ("epochs.done", 14, "each of the 14 epochs that are done"),
        ("selection.last", None, "the run's status is complete, but selection.last is null"),
    ],
)
def test_bad_records_are_refused(tmp_path: Path, key: str, value: Any, told: str) -> None:
    file = changed(tmp_path, key, value)
    with pytest.raises(UserError) as refused:
        read_record(file)
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no valid JSON"),
        ("[1]", "schema 1"),
        ("", "no valid JSON"),
        ('{"schema": 1, "seed": 1, "seed": 2}', 'the key "seed" stands twice in it'),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(text)
    with pytest.raises(UserError, match=told):
        read_record(file)


def test_damaged_predictions_are_refused(tmp_path: Path) -> None:
    whole = (KEPT / "predictions.npz").read_bytes()
    file = tmp_path / "predictions.npz"
    with pytest.raises(UserError, match="is missing"):
        read_predictions(file)
    # Cut at the front, in the middle and just before the end, and with one byte changed.
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (b"", whole[:10], whole[: len(whole) // 2], whole[:-30], b"no archive at all", bytes(flipped)):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged"):
            read_predictions(file)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("label", None, "misses the array label"),
        ("class", None, "misses the array class"),
        ("class", np.zeros(3, np.uint8), "the array class has 3 values for 10000 labels"),
        ("class", np.zeros(10_000, np.float32), "it must be one row of whole numbers"),
        ("loss", np.zeros((10_000, 1), np.float32), "it must be one row of real numbers"),
        ("best_test_loss", None, "misses the array best_test_loss"),
    ],
)
def test_wrong_predictions_are_refused(tmp_path: Path, name: str, array: Any, told: str) -> None:
    with np.load(KEPT / "predictions.npz") as content:
        arrays = {key: value for key, value in content.items() if key != name}
    np.savez(tmp_path / "predictions.npz", **(arrays if array is None else arrays | {name: array}))
    with pytest.raises(UserError, match=told):
        read_predictions(tmp_path / "predictions.npz")


def test_the_page_names_every_key() -> None:
    page = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(record).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    own = [kind for kind in kinds if kind.__module__ == record.__name__ and kind not in (record.Record, record.Learned)]
    assert record.Result in own
    named = set(re.findall(r"`(\w+)`", page))
    assert {f.name for kind in own for f in dataclasses.fields(kind)} <= named


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    first = read_record(made_up.KEPT / "result.json")
    again = read_record(made_up.write(tmp_path, first))
    assert again == first
    assert json.loads((tmp_path / "result.json").read_text()) == made_up.REAL | {"printed": {}}
