"""Reads records back, and refuses one that is not what a run leaves behind."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError

SCHEMA = 2
"""Of records that are written; those of schema 1, before December 2026, are read still."""
STATUSES = ("complete", "partial", "failed")
TIERS = ("full", "prefix", "smoke")


@dataclass(frozen=True)
class Record:
    """A run's result.json, checked.

    Attributes:
        path: the file.
        content: as the contract has it.
        shared_from: whose run it is, where a record of another row of the experiment is taken for one of this row.
        answers: which of the kept predictions `selection.last` follows from; see `Predictions`.
    """

    path: Path
    content: dict[str, Any]
    shared_from: str | None = None
    answers: str = "last"

    @property
    def name(self) -> str:
        """Id of the row, or name of the recipe."""
        return str(self.content["row"] or self.content.get("recipe") or "unnamed")

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.content["seed"])

    @property
    def tier(self) -> str:
        """`full`, `prefix` or `smoke`."""
        return str(self.content["tier"])

    @property
    def epochs_done(self) -> int:
        """Epochs that were trained."""
        return int(self.content["epochs"]["done"])

    @property
    def ended_by_rule(self) -> bool:
        """Whether a rule of the row ended the run, which might have trained longer."""
        return "most" in self.content["epochs"]

    @property
    def most_epochs(self) -> int:
        """Epochs that the run might have trained: as many as it did, unless a rule ended it before."""
        return int(self.content["epochs"].get("most", self.epochs_done))

    @property
    def changed(self) -> dict[str, list[Any]]:
        """Settings of the experiment that differ from the row's; a run cut short is not another experiment."""
        longer = self.epochs_done > self.content["epochs"]["planned"]
        return {
            key: values
            for key, values in self.content["changed_from_row"].items()
            if key not in _CUT_SHORT or (longer and key == "trainer.max_epochs")
        }

    @property
    def load(self) -> float:
        """The share of the cores' time that others had, a fraction of 1; 0 where the record does not say."""
        return float(self.content["time"].get("load") or 0)

    @property
    def is_complete(self) -> bool:
        """Whether the run ended and was tested."""
        return bool(self.content["status"] == "complete")

    def last(self, key: str) -> float | None:
        """A value of the last epoch, a fraction of 1 or a loss; null where there is none."""
        selected = self.content["selection"]["last"]
        value = None if selected is None else selected.get(key)
        return None if value is None else float(value)


_CUT_SHORT = {
    "trainer.max_epochs",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "data.sample",
}
"""Changes that `tier` tells already."""

_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "row": (str, type(None)),
    "seed": int,
    "status": str,
    "tier": str,
    "epochs.planned": int,
    "epochs.done": int,
    "dataset.name": str,
    "dataset.train_images": int,
    "dataset.test_images": int,
    "dataset.sha256": str,
    "model.class_path": str,
    "model.trainable_parameters": int,
    "selection.last": (dict, type(None)),
    "selection.best_test": (dict, type(None)),
    "curve": list,
    "time.fit_seconds": (int, float),
    "time.train_seconds": (int, float),
    "hardware": dict,
    "software": dict,
    "config_sha256": str,
    "changed_from_row": dict,
}
_REQUIRED_SINCE_2 = {"printed": dict, "engine": dict, "engine.kernels": str}
_SELECTED = ("test_accuracy", "precision", "recall", "f1", "test_loss", "train_accuracy", "train_loss")
"""What is kept of a selected epoch, besides its number."""
_LOSSES = ("test_loss", "train_loss")

QUIET = 0.1
"""The most of the cores' time that others may have had for a run's seconds to tell of the row."""


def read_record(path: Path) -> Record:
    """Reads and checks a record.

    Raises:
        UserError: if it cannot be read, has another schema, misses a key, or holds an impossible value;
            one sentence that names the file and key.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UserError(f"{path} is no record of schema 1 or {SCHEMA}: its key schema is {schema!r}")
    for key, kind in (_REQUIRED | (_REQUIRED_SINCE_2 if schema > 1 else {})).items():
        value = _at(content, key, path)
        if not isinstance(value, kind) or isinstance(value, bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise UserError(f"{path}: {key} is {value!r}; it must be {names}")
    for key, allowed in (("status", STATUSES), ("tier", TIERS)):
        if content[key] not in allowed:
            raise UserError(f"{path}: {key} is {content[key]!r}; it must be one of {', '.join(allowed)}")
    for name, values in content["selection"].items():
        if values is not None:
            _check_selected(values, f"selection.{name}", path)
    for epoch, values in content.get("printed", {}).items():
        _check_selected(values, f"printed.{epoch}", path)
        if str(values["epoch"]) != epoch:
            raise UserError(f"{path}: printed.{epoch}.epoch is {values['epoch']}; it must be {epoch}")
    _check_curve(content["curve"], path)
    for key, value in content["time"].items():
        if value is not None:
            check = _check_fraction if key == "load" else _check_not_negative
            check(value, f"{path}: time.{key}")
    if content["status"] == "complete" and content["selection"]["last"] is None:
        raise UserError(f"{path}: selection.last is null, but the run's status is complete")
    planned, done = content["epochs"]["planned"], content["epochs"]["done"]
    most = content["epochs"].get("most", planned)
    if not isinstance(most, int) or most < planned:
        raise UserError(f"{path}: epochs.most is {most!r}; it must be a whole number of at least epochs.planned")
    if content["tier"] == "full" and done < planned:
        raise UserError(f"{path}: tier is full, but only {done} of {planned} planned epochs are done")
    return Record(path, content)


def _check_selected(values: Any, name: str, path: Path) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{path}: {name} is {values!r}; it must be a mapping or null")
    if not isinstance(_at(values, "epoch", path, f"{name}."), int):
        raise UserError(f"{path}: {name}.epoch is {values['epoch']!r}; it must be int")
    for key in _SELECTED:
        check = _check_not_negative if key in _LOSSES else _check_fraction
        value = _at(values, key, path, f"{name}.")
        # A loss is null when the run diverged.
        if value is None and not key.startswith("train") and key not in _LOSSES:
            raise UserError(f"{path}: {name}.{key} is null; it must be a number")
        if value is not None:
            check(value, f"{path}: {name}.{key}")
    for key in ("test_accuracy_tta", "top5_accuracy"):
        if key in values:
            _check_fraction(values[key], f"{path}: {name}.{key}")


def _check_curve(curve: list[Any], path: Path) -> None:
    previous = 0
    for point in curve:
        if not isinstance(point, dict) or not isinstance(point.get("epoch"), int) or point["epoch"] <= previous:
            raise UserError(f"{path}: curve must hold one mapping for each epoch, with ascending numbers from 1")
        previous = point["epoch"]
        for key, value in point.items():
            if key != "epoch" and value is not None:
                fraction = key.endswith("accuracy") or key in ("precision", "recall", "f1")
                check = _check_fraction if fraction else _check_not_negative
                check(value, f"{path}: curve, epoch {previous}, {key}")


def _at(content: dict[str, Any], key: str, path: Path, within: str = "") -> Any:
    value: Any = content
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{path} misses the key {within}{key}")
        value = value[part]
    return value


def _check_not_negative(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UserError(f"{where} is {value!r}; it must be a finite number of at least 0")


def _check_fraction(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{where} is {value!r}; it must be a fraction of 1, not a percentage")


def find_record_files(name: str = "", committed_only: bool = False) -> list[Path]:
    """The records of a row or recipe, or all that there are: kept ones first, then, if they are wanted, runs."""
    folders = chosen().record_folders(committed_only)
    return [path for folder in folders for path in sorted((folder / name).rglob("result.json"))]
