"""Recomputes what a record says of its settings from the run's config.yaml and the row's file, and believes neither.

What differs from the row, how many epochs the row plans and whether the run is the whole row all follow from the two.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifar_hpc.collection.convergence import flat_epoch
from cifar_hpc.collection.defaults import GROUPS, resolve
from cifar_hpc.collection.experiment import differences, experiment
from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.data.datasets import DATASETS
from cifar_hpc.errors import UserError
from cifar_hpc.records.record import Hardware, Record, takes_all, tier
from cifar_hpc.verify.check import Check

CONFIG = "config.yaml"

_PRECISIONS = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""Lightning's short names of precisions."""


def check_settings(record: Record) -> Iterator[Check]:
    """Checks row, seed, network, data, changes and tier of a record; without config.yaml the planned epochs alone.

    Raises:
        UserError: if config.yaml or the row's file is damaged.
    """
    row = chosen().rows.get(record.row or "")
    file = record.path.with_name(CONFIG)
    if not file.exists():
        if row is not None:
            planned = resolve(row.config)
            yield from _check_epochs(record, planned, planned)
        return
    try:
        yield from list(_check_config(record, row, _read_config(file)))
    except UserError as error:
        raise UserError("; ".join(str(error).splitlines())) from error
    except Exception as error:  # values of any kind may stand where `fit` writes others
        raise UserError(f"{file} is no configuration that `fit` writes: {one_sentence(str(error))[:200]}") from error


def _check_config(record: Record, row: Row | None, config: dict[str, Any]) -> Iterator[Check]:
    """Checks a record's settings against config.yaml and the row."""
    group, run = config["reproduction"], resolve(config)
    yield from _check_epochs(record, run if row is None else resolve(row.config), run)
    yield Check("row", record.row, group.get("row"), CONFIG)
    yield Check("recipe", record.recipe, group.get("recipe"), CONFIG)
    yield Check("seed", record.seed, config.get("seed_everything"), CONFIG)
    yield Check("model.class_path", record.model.class_path, run["model"].get("class_path"), CONFIG)
    yield Check("dataset.name", record.dataset.name, run["data"]["dataset"], CONFIG)
    if row is not None:
        yield from _check_changes(record, row, run)
        size = row.reproduction.trainable_parameters
        if size is not None and not any(key.startswith(("model.", "data.dataset")) for key in record.changed_from_row):
            yield Check("model.trainable_parameters", record.model.trainable_parameters, size, row.path.name)
    yield from _check_hardware(record.hardware, run["trainer"])
    for point, rate in zip(record.curve, learning_rates(run, len(record.curve)), strict=False):
        # Each step multiplies it once more in float64.
        if point.learning_rate is None or not math.isclose(point.learning_rate, rate, rel_tol=1e-9):
            yield Check(f"curve.{point.epoch - 1}.learning_rate", point.learning_rate, rate, CONFIG)
    printed = [point.epoch for point in row.reproduction.reported.curve] if row is not None else []
    follows = tier(_sees_all(record, run), record.epochs.done, record.epochs.planned, printed)
    # The report's curve, which makes a prefix of a short run, may have been copied out after the run.
    if (record.tier, follows) != ("smoke", "prefix"):
        yield Check("tier", record.tier, follows, f"{CONFIG} and the {record.epochs.done} epochs that are done")


def _check_hardware(hardware: Hardware, trainer: dict[str, Any]) -> Iterator[Check]:
    """Compares what a run used of its machine with what it was told to."""
    precision, devices, accelerator = trainer["precision"], str(trainer["devices"]), trainer["accelerator"]
    if precision not in (None, "auto") and not trainer["plugins"]:
        follows = _PRECISIONS.get(str(precision), str(precision))
        if (follows, hardware.accelerator) == ("16-mixed", "cpu"):  # Lightning takes the other half there
            follows = "bf16-mixed"
        yield Check("hardware.precision", hardware.precision, follows, CONFIG)
    if devices.isdecimal() and int(devices):
        yield Check("hardware.world_size", hardware.world_size, int(devices) * trainer["num_nodes"], CONFIG)
    if accelerator in ("cpu", "cuda", "mps"):
        yield Check("hardware.accelerator", hardware.accelerator, accelerator, CONFIG)
    if trainer["threads"] is not None:
        yield Check("hardware.threads", hardware.threads, trainer["threads"], CONFIG)


def learning_rates(run: dict[str, Any], epochs: int) -> list[float]:
    """Computes the learning rate of each epoch; nothing where it does not follow from the configuration alone."""
    settings = run["model"].get("init_args") or {}
    schedule = settings.get("scheduler") or {"class_path": None}
    rate = ((settings.get("optimizer") or {}).get("init_args") or {}).get("lr")
    if "scheduler" not in settings or not isinstance(rate, float) or "trainer.callbacks" in experiment(run):
        return []
    arguments = schedule.get("init_args") or {}
    match schedule["class_path"]:
        case None:
            steps = [0] * epochs
        case "torch.optim.lr_scheduler.MultiStepLR":
            steps = [sum(milestone <= epoch for milestone in arguments["milestones"]) for epoch in range(epochs)]
        case "torch.optim.lr_scheduler.StepLR":
            steps = [epoch // arguments["step_size"] for epoch in range(epochs)]
        case "torch.optim.lr_scheduler.ExponentialLR":
            steps = list(range(epochs))
        case _:
            return []
    return [rate * arguments.get("gamma", 1.0) ** step for step in steps]


def _check_epochs(record: Record, row: dict[str, Any], run: dict[str, Any]) -> Iterator[Check]:
    """Checks that the row's epochs were planned, or those after which a rule of the run has ended it."""
    most = row["trainer"]["max_epochs"]
    flat = flat_epoch(run, [point.train_accuracy or 0.0 for point in record.curve])
    ended = flat is not None and flat < most
    source = "the rule of the run and its curve" if flat is not None else "the row"
    yield Check("epochs.planned", record.epochs.planned, flat if ended else most, source)
    yield Check("epochs.most", record.epochs.most, most if ended else None, source)


def _read_config(file: Path) -> dict[str, Any]:
    config = read_yaml(file)
    for name in (*GROUPS, "reproduction"):
        if not isinstance(config.get(name), dict):
            raise UserError(f"{file}: {name} must be a mapping of keys")
    return config


def _check_changes(record: Record, row: Row, run: dict[str, Any]) -> Iterator[Check]:
    """Checks what the run changed of the row's experiment, as it is understood today, on both sides."""
    told = {key: pair for key, pair in record.changed_from_row.items() if _is_experiment(key, pair)}
    follows = differences(experiment(resolve(row.config)), experiment(run))
    source = f"{CONFIG} and {row.path.name}"
    if not told and not follows:
        yield Check("changed_from_row", {}, {}, source)
    for key in dict.fromkeys([*told, *follows]):
        yield Check(f"changed_from_row.{key}", told.get(key), follows.get(key), source)


def _is_experiment(key: str, values: list[Any]) -> bool:
    group, _, rest = key.partition(".")
    return group in GROUPS and any(key in experiment({group: {rest: value}}) for value in values)


def _sees_all(record: Record, run: dict[str, Any]) -> bool:
    """Checks whether the run saw the whole dataset, but for a hold-out."""
    trainer, data = run["trainer"], run["data"]
    limits = [trainer[f"limit_{part}_batches"] for part in ("train", "val", "test")]
    if trainer["fast_dev_run"] or data["sample"] or not all(map(takes_all, limits)):
        return False
    return bool(record.dataset.train_images == DATASETS[record.dataset.name].train_images - data["holdout_images"])
