"""What a run leaves behind, typed: written by the recorder, read back by everyone. docs/record.md tells it in words."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.typed import MismatchError, Must, build, shown
from cifar_hpc.errors import UserError

SCHEMA = 2
"""Schema of records that are written; those of schema 1, before December 2026, are read still."""

QUIET = 0.1
"""The most of the cores' time that others may have had for a run's seconds to tell of the row."""

_LEAST_SEEN = 0.9
"""The least share of its images that an epoch trains: no row's last batch is a tenth of them."""

_MOST_BYTES = 2**25
"""Largest size of a record: ten thousand epochs take a seventh of it."""

Status = Literal["complete", "partial", "failed"]
Tier = Literal["full", "prefix", "smoke"]

Fraction = Annotated[float, Must(lambda x: 0 <= x <= 1, "a fraction of 1, not a percentage")]
NotNegative = Annotated[float, Must(lambda x: 0 <= x < math.inf, "a finite number of at least 0")]
Count = Annotated[int, Must(lambda n: 0 <= n < 2**63, "a whole number of at least 0")]
Epoch = Annotated[int, Must(lambda n: 1 <= n < 2**31, "a whole number of at least 1")]
Seed = Annotated[int, Must(lambda n: 0 <= n < 2**32, "a whole number of at least 0 and below 2**32")]
Name = Annotated[str, Must(lambda text: re.fullmatch(r"\w[\w.-]{0,99}", text), "letters, digits, _, . and -")]
Digest = Annotated[str, Must(lambda text: re.fullmatch("[0-9a-f]{64}", text), "64 digits of a SHA-256")]
Change = Annotated[list[Any], Must(lambda pair: len(pair) == 2 and _depth(pair) < 20, "[the row's value, the run's]")]


@dataclass(frozen=True)
class Epochs:
    """How far a run went.

    Attributes:
        planned: epochs of the row, whatever the run was told; where its rule ended the run, those that it came to.
        done: epochs that were trained.
        most: epochs that a row's rule might have let it train, where it ended the run before; null for other runs.
    """

    planned: Epoch
    done: Count
    most: Epoch | None = None


@dataclass(frozen=True)
class DatasetFacts:
    """What a run was trained and tested on.

    Attributes:
        name: name of the dataset.
        train_images: number of images that were trained on.
        test_images: number of images that were tested on.
        sha256: digest of the dataset; see `cifar_hpc.data.datasets.Dataset`.
    """

    name: str
    train_images: Count
    test_images: Count
    sha256: str


@dataclass(frozen=True)
class ModelFacts:
    """The network.

    Attributes:
        class_path: import path of its class.
        trainable_parameters: number of its trainable parameters.
    """

    class_path: str
    trainable_parameters: Count


@dataclass(frozen=True)
class Selected:
    """A selected epoch's metrics: fractions of 1 and mean losses, in nats.

    Attributes:
        epoch: counted from 1; 0 where something ended the run before one was whole.
        test_accuracy: on the test set.
        precision: macro average on the test set.
        recall: macro average on the test set.
        f1: macro average on the test set.
        test_loss: on the test set; null where the run diverged.
        train_accuracy: on the training images, during the epoch.
        train_loss: on the training images, during the epoch; null where the run diverged.
        top5_accuracy: on the test set; since schema 2.
        test_accuracy_tta: on the test set, with test-time augmentation, for networks that have it.
    """

    epoch: Count
    test_accuracy: Fraction
    precision: Fraction
    recall: Fraction
    f1: Fraction
    test_loss: NotNegative | None
    train_accuracy: Fraction | None
    train_loss: NotNegative | None
    top5_accuracy: Fraction | None = None
    test_accuracy_tta: Fraction | None = None


@dataclass(frozen=True)
class Selection:
    """The epochs that rules choose.

    Attributes:
        last: the last epoch, tested after the training; null until then.
        best_test: the epoch with the best accuracy on the test set.
        best_holdout: the epoch with the best accuracy on training images set aside; null where there are none.
    """

    last: Selected | None
    best_test: Selected | None
    best_holdout: Selected | None = None

    @property
    def chosen(self) -> dict[str, Selected]:
        """The epochs that were chosen, by the name of the rule."""
        return {f.name: found for f in fields(self) if (found := getattr(self, f.name)) is not None}


@dataclass(frozen=True)
class Point:
    """An epoch of the curve; what was tested is null in an epoch without evaluation.

    Attributes:
        epoch: counted from 1.
        train_loss: running mean over the epoch.
        train_accuracy: running mean over the epoch.
        test_loss: after the epoch.
        test_accuracy: after the epoch.
        train_seconds: wall clock of the epoch without evaluations.
        eval_seconds: wall clock of the epoch's evaluations.
        learning_rate: learning rate at the epoch's start.
        top5_accuracy: after the epoch; this and the macro averages since schema 2.
        precision: macro average after the epoch.
        recall: macro average after the epoch.
        f1: macro average after the epoch.
        holdout_loss: on training images set aside.
        holdout_accuracy: on training images set aside.
    """

    epoch: Epoch
    train_loss: NotNegative | None
    train_accuracy: Fraction | None
    test_loss: NotNegative | None
    test_accuracy: Fraction | None
    train_seconds: NotNegative
    eval_seconds: NotNegative
    learning_rate: NotNegative | None
    top5_accuracy: Fraction | None = None
    precision: Fraction | None = None
    recall: Fraction | None = None
    f1: Fraction | None = None
    holdout_loss: NotNegative | None = None
    holdout_accuracy: Fraction | None = None


@dataclass(frozen=True)
class Times:
    """Seconds of wall clock.

    Attributes:
        fit_seconds: time of the whole fit.
        train_seconds: time of the curve's epochs.
        eval_seconds: time of the curve's evaluations.
        first_epoch_seconds: time of the first epoch's training, which warms up.
        images_per_second: number of images that were trained on in a second.
        test_seconds: time of the test after the fit.
        load: the share of the cores' time that others had, a fraction of 1.
    """

    fit_seconds: NotNegative
    train_seconds: NotNegative
    eval_seconds: NotNegative
    first_epoch_seconds: NotNegative | None
    images_per_second: NotNegative | None
    test_seconds: NotNegative | None = None
    load: Fraction | None = None


@dataclass(frozen=True)
class Engine:
    """What computed the run.

    Attributes:
        kernels: ours or stock; see `cifar_hpc.speed.kernels`.
    """

    kernels: str


@dataclass(frozen=True)
class Hardware:
    """What a run used of its machine; see `cifar_hpc.records.environment`."""

    cpu: str
    cores: Count
    threads: Count
    accelerator: str
    devices: Count
    num_nodes: Count
    world_size: Count
    strategy: str
    precision: str
    memory_gib: NotNegative | None = None
    instructions: list[str] | None = None
    platform: str | None = None
    processes: list[Any] | None = None
    gpu: str | None = None
    benchmark: bool | None = None
    tf32: bool | None = None

    @property
    def device(self) -> str:
        """The GPU, else the processor and its cores."""
        return self.gpu or f"{self.cpu}, {self.cores} core{'s' * (self.cores > 1)}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The content of result.json.

    Attributes:
        schema: number of the record's schema.
        row: id of the row; null for a recipe.
        recipe: name of a recipe that is no row.
        seed: seed of the run.
        status: whether the run ended and was tested.
        ended: what ended it before its last epoch; null where it went to its end, or goes on.
        tier: `full`, `prefix` (the report prints a curve to compare with) or `smoke`.
        epochs: planned and done.
        dataset: what it was trained and tested on.
        model: the network.
        selection: the last epoch and the best ones.
        printed: further epochs at which a row of the experiment prints a number, by their numbers; since schema 2.
        curve: every epoch, from 1 on.
        time: seconds.
        engine: what computed it; since schema 2.
        hardware: what it ran on.
        software: versions, and the commit of this package.
        config_sha256: digest of the run's config.yaml.
        predictions_sha256: digest of the run's predictions.npz; null until there is one.
        changed_from_row: experiment settings that differ from the row's, as [row's, run's].
    """

    schema: int
    row: Name | None
    recipe: Name | None = None
    seed: Seed
    status: Status
    ended: str | None = None
    tier: Tier
    epochs: Epochs
    dataset: DatasetFacts
    model: ModelFacts
    selection: Selection
    printed: dict[str, Selected] = field(default_factory=dict)
    curve: list[Point]
    time: Times
    engine: Engine | None = None
    hardware: Hardware
    software: dict[str, str | bool | None]
    config_sha256: Digest
    predictions_sha256: Digest | None = None
    changed_from_row: dict[str, Change]


@dataclass(frozen=True)
class Learned:
    """What a run's network learned that no other seed's does; see `cifar_hpc.verify.copies`.

    Attributes:
        whole: digests of the curve and of the predicted classes.
        epochs: each epoch's losses, as text.
        losses: shape (kept epochs, images), losses on the test set, standardised; null where they tell nothing.
    """

    whole: frozenset[str] = frozenset()
    epochs: tuple[str, ...] = ()
    losses: Any = None


@dataclass(frozen=True, kw_only=True)
class Record(Result):
    """A run's result.json, read and checked; two files of the same content are equal.

    Attributes:
        path: the file.
        shared_from: whose run it is, where a record of another row of the experiment is taken for one of this row.
        answers: which of the kept predictions `selection.last` follows from; see `Predictions`.
        learned: what tells the run from all others; known once the evidence was read.
    """

    path: Path = field(compare=False)
    shared_from: str | None = None
    answers: str = "last"
    learned: Learned = field(default=Learned(), compare=False)

    @property
    def name(self) -> str:
        """Id of the row, or name of the recipe."""
        return self.row or self.recipe or "unnamed"

    @property
    def epochs_done(self) -> int:
        """Epochs that were trained."""
        return self.epochs.done

    @property
    def ended_by_rule(self) -> bool:
        """Whether a rule of the row ended the run, which might have trained longer."""
        return self.epochs.most is not None

    @property
    def most_epochs(self) -> int:
        """Epochs that the run might have trained: as many as it did, unless a rule ended it before."""
        return self.epochs.most or self.epochs.done

    @property
    def changed(self) -> dict[str, list[Any]]:
        """Settings of the experiment that differ from the row's; a run cut short is not another experiment."""
        longer = self.epochs.done > self.epochs.planned
        return {
            key: values
            for key, values in self.changed_from_row.items()
            if key not in _CUT_SHORT or (longer and key == "trainer.max_epochs")
        }

    @property
    def load(self) -> float:
        """The share of the cores' time that others had, a fraction of 1; 0 where the record does not say."""
        return self.time.load or 0

    @property
    def is_complete(self) -> bool:
        """Whether the run ended and was tested."""
        return self.status == "complete"

    @property
    def selections(self) -> dict[str, Selected]:
        """Every epoch whose metrics are kept, by its key in the record."""
        kept = {f"selection.{name}": selected for name, selected in self.selection.chosen.items()}
        return kept | {f"printed.{epoch}": selected for epoch, selected in self.printed.items()}

    def last(self, key: str) -> float | None:
        """Looks up a value of the last epoch, a fraction of 1 or a loss; null where there is none."""
        return None if self.selection.last is None else getattr(self.selection.last, key)

    def at(self, epoch: int) -> Point | None:
        """Finds an epoch of the curve; null where the curve does not reach it."""
        return self.curve[epoch - 1] if 0 < epoch <= len(self.curve) else None


_CUT_SHORT = {
    "trainer.max_epochs",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "data.sample",
}
"""Changes that `tier` tells already."""


def as_json(value: Any) -> Any:
    """Turns a result into plain data; what is null and need not be there is left out."""
    if is_dataclass(value):
        pairs = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: as_json(v) for f, v in pairs if v is not None or f.default is MISSING}
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list | tuple) else value


def read_record(path: Path) -> Record:
    """Reads a record, and refuses one that is not what a run leaves behind.

    Raises:
        UserError: if it cannot be read, has another schema, misses a key, holds an impossible value, or contradicts
            itself; one sentence that names the file and key.
    """
    content = _read_json(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UserError(f"{path} is no record of schema 1 or {SCHEMA}: its key schema is {shown(schema)}")
    if missing := [key for key in ("printed", "engine") if schema > 1 and key not in content]:
        raise UserError(f"{path} misses the key {missing[0]}")
    try:
        record = Record(**vars(build(Result, content, strict=False)), path=path)
    except MismatchError as error:
        if error.value is ...:
            raise UserError(f"{path} misses the key {error.key}") from None
        raise UserError(f"{path}: {error}") from None
    if contradiction := _contradiction(record):
        raise UserError(f"{path}: {contradiction}")
    return record


def _read_json(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no file")
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise UserError(f"{path} has {size:,} bytes, which no record has")
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_mapping)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError:
        raise UserError(f"{path} is no record: it is nested deeper than any is") from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON: {error}") from error


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a mapping of keys that each stand once: of two, one reader takes the first and another the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {shown(twice)} stands twice in it")
    return content


def _contradiction(record: Record) -> str:
    """Says what within a record cannot be; empty where nothing is odd."""
    done, curve = record.epochs.done, record.curve
    if [point.epoch for point in curve] != list(range(1, done + 1)):
        return f"curve must hold one mapping for each of the {done} epochs that are done, with ascending numbers from 1"
    if record.is_complete and (record.selection.last is None or not done):
        return "the run's status is complete, but selection.last is null or no epoch is done"
    if record.selection.last is not None and record.selection.last.epoch != done:
        return f"selection.last.epoch is {record.selection.last.epoch}, but {done} epochs are done"
    for key, selected in record.selections.items():
        if selected.epoch > done:
            return f"{key}.epoch is {selected.epoch}, but only {done} epochs are done"
    for epoch, selected in record.printed.items():
        if str(selected.epoch) != epoch:
            return f"printed.{shown(epoch)}.epoch is {selected.epoch}; it must be the same"
    if record.tier == "full" and done < record.epochs.planned:
        return f"tier is full, but only {done} of {record.epochs.planned} planned epochs are done"
    if record.epochs.most is not None and not record.epochs.planned == done <= record.epochs.most:
        return f"epochs.most is {record.epochs.most}, but {done} of {record.epochs.planned} planned epochs are done"
    if record.is_complete and record.ended is not None:
        return f"the run's status is complete, but ended says that {shown(record.ended)} ended it before"
    return _odd_hardware(record.hardware) or _odd_time(record)


def _odd_hardware(hardware: Hardware) -> str:
    """Says which fact of the hardware contradicts another; empty where none does."""
    if hardware.gpu is not None and hardware.accelerator != "cuda":
        return f"hardware.gpu is {shown(hardware.gpu)}, but hardware.accelerator is {shown(hardware.accelerator)}"
    if hardware.strategy == "single_device" and hardware.world_size != 1:
        return f"hardware.strategy is single_device, but hardware.world_size is {hardware.world_size}"
    used = [each.get("cores") for each in hardware.processes or () if isinstance(each, dict)]
    cores = {str(core) for each in used if isinstance(each, list) for core in each}
    if cores and len(cores) != hardware.cores:
        return f"hardware.cores is {hardware.cores}, but hardware.processes used {len(cores)}"
    return ""


def _odd_time(record: Record) -> str:
    """Says which time does not follow from the curve's; empty where all do."""
    curve, time = record.curve, record.time
    train, evaluation = sum(point.train_seconds for point in curve), sum(point.eval_seconds for point in curve)
    follows = {
        "train_seconds": train,
        "eval_seconds": evaluation,
        "first_epoch_seconds": curve[0].train_seconds if curve else None,
    }
    for key, value in follows.items():
        told = getattr(time, key)
        if (told is None) != (value is None) or not math.isclose(told or 0, value or 0, rel_tol=1e-6, abs_tol=1e-6):
            return f"time.{key} is {shown(told)}, but from the curve follows {shown(value)}"
    most = record.dataset.train_images * len(curve)  # an epoch may leave out the last batch
    seen = (time.images_per_second or 0) * train
    if seen > most * (1 + 1e-6) or (record.tier == "full" and time.images_per_second and seen < most * _LEAST_SEEN):
        return f"time.images_per_second is {shown(time.images_per_second)}, but all {most} images took {shown(train)}"
    if time.fit_seconds + 1e-3 < train + evaluation:
        return f"time.fit_seconds is {shown(time.fit_seconds)}, but its epochs alone take {shown(train + evaluation)}"
    return ""


def _depth(value: Any) -> int:
    """Counts the levels of nesting."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, parts), default=0)


def find_record_files(name: str = "", committed_only: bool = False) -> list[Path]:
    """Finds the records of a row or recipe, or all that there are: kept ones first, then, if they are wanted, runs."""
    folders = chosen().record_folders(committed_only)
    return [path for folder in folders for path in sorted((folder / name).rglob("result.json"))]


def takes_all(limit: float | None) -> bool:
    """Checks whether a Trainer's `limit_*_batches` leaves nothing out: null and 1.0 do; 1, as integer, is a batch."""
    return limit is None or (type(limit) is not int and limit == 1.0)


def tier(whole: bool, done: int, planned: int, printed: Iterable[int]) -> Tier:
    """Tells how much of its row a run is.

    Args:
        whole: whether it saw all images of the dataset.
        done: number of epochs that were trained.
        planned: number of epochs of the row.
        printed: epochs of the log that the report prints, with which a run that has not done all can be compared.
    """
    if not whole:
        return "smoke"
    if done >= planned:
        return "full"
    return "prefix" if any(epoch <= done for epoch in printed) else "smoke"
