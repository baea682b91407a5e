"""Which records a claim may be judged by, and what they measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cifar_hpc.collection.reproduction import Row
from cifar_hpc.records.record import QUIET, Record
from cifar_hpc.verify.claims_file import Claim
from cifar_hpc.verify.judge import by_seed

Records = Mapping[str, Sequence[Record]]
"""Finished records by row or recipe."""

_MACHINE = ("cpu", "cores", "memory_gib", "accelerator", "gpu", "world_size", "precision")
"""Facts of the hardware that must be the same for seconds to be compared, but for those that a claim is about."""


@dataclass(frozen=True)
class Evidence:
    """The records that a claim is judged by.

    Attributes:
        records: by row; empty when the claim cannot be judged.
        reason: why it cannot.
        missing: whether that is because records are missing, rather than unfit.
    """

    records: Records
    reason: str = ""
    missing: bool = False


def evidence(claim: Claim, records: Records, base: Row | None = None) -> Evidence:
    """Picks the records of the claim's rows that measured what it is about; seconds from one machine only.

    Args:
        claim: to be judged.
        records: finished ones, by row or recipe.
        base: the row that the claim's recipes are added to; records of other networks and datasets are none of it.
    """
    fit: dict[str, list[Record]] = {}
    for name in claim.rows:
        found = [r for r in records.get(name, ()) if base is None or _is_of(r, base)]
        fit[name] = [record for record in found if not unfit(claim, record)]
        if found and not fit[name]:
            nearest = min(found, key=lambda record: bool(record.changed))
            return Evidence({}, f"{nearest.path} {unfit(claim, nearest)}")
    if absent := [name for name, found in fit.items() if not found]:
        return Evidence({}, f"nothing is measured yet for {', '.join(absent)}", missing=True)
    return _on_one_machine(claim, fit) if claim.is_time else Evidence(fit)


def _is_of(record: Record, base: Row) -> bool:
    """Checks whether a recipe's record trained the row's network on its dataset for as many epochs."""
    planned = base.config["model"]["class_path"], base.dataset, base.epochs
    return (record.model.class_path, record.dataset.name, record.most_epochs) == planned


def unfit(claim: Claim, record: Record) -> str:
    """Says why the record tells nothing about the claim; empty when it does."""
    for fact, needed in claim.requires.get(record.name, {}).items():
        value = getattr(record.hardware, fact)
        # A GPU's name may be longer; what a record does not say (cuDNN's autotuner on a CPU) does not matter there.
        same = str(needed) in str(value) if fact == "gpu" else value == needed
        if value is not None and not same:
            return f"was measured with {fact} {value}, and the claim is about {needed}"
    if record.changed:
        return f"changes {', '.join(record.changed)}"
    if claim.is_time:
        if cut := sorted({"trainer.limit_train_batches", "data.sample"} & set(record.changed_from_row)):
            return f"trained on less than the whole dataset ({', '.join(cut)})"
        if record.load > QUIET:
            return f"was timed while others had {100 * record.load:.0f} % of the machine's cores"
        return "" if _timed_epochs(record) else "times no epoch"
    if claim.epoch is None and record.tier != "full":
        return "is not the whole run"
    if accuracy_at(claim, record) is None:
        return "holds no such accuracy" if claim.epoch is None else f"does not reach epoch {claim.epoch}"
    return ""


def _on_one_machine(claim: Claim, fit: Records) -> Evidence:
    """Picks the records of the machine that has most, of those that have some for every row."""
    about = {fact for facts in claim.requires.values() for fact in facts}
    machines: dict[tuple[Any, ...], dict[str, list[Record]]] = {}
    for name, found in fit.items():
        for record in found:
            key = tuple(str(getattr(record.hardware, fact)) for fact in _MACHINE if fact not in about)
            key += (str(record.software.get("torch")),)
            machines.setdefault(key, {}).setdefault(name, []).append(record)
    whole = [machine for machine in machines.values() if len(machine) == len(fit)]
    if not whole:
        return Evidence({}, "no one machine, with one version of torch, has records of all its rows")
    return Evidence(max(whole, key=lambda m: (min(map(len, m.values())), sum(map(len, m.values())))))


def accuracy_at(claim: Claim, record: Record) -> float | None:
    """Returns the record's accuracy in percent at the claim's epoch."""
    key = claim.quantity.removesuffix("_percent")
    if claim.epoch is None:
        value = record.last(key)
    else:
        point = record.at(claim.epoch)
        value = None if point is None else getattr(point, key)
    return None if value is None else 100 * float(value)


def measured(claim: Claim, found: Sequence[Record], epochs: int) -> list[float]:
    """Returns one value for each seed (accuracy in percent) or run (minus the logarithm of seconds); more is better.

    Args:
        claim: what is compared.
        found: records of one row.
        epochs: that the row trains; for `training_seconds`.
    """
    if not claim.is_time:
        return by_seed(list(found), lambda record: accuracy_at(claim, record))
    factor = epochs if claim.quantity == "training_seconds" else 1
    return [-math.log(factor * seconds_per_epoch(record)) for record in found]


def seconds_per_epoch(record: Record) -> float:
    """Averages the epochs' seconds, without the first, which warms up, and without evaluation."""
    seconds = _timed_epochs(record)
    counted = seconds[1:] or seconds
    return math.fsum(counted) / len(counted)


def _timed_epochs(record: Record) -> list[float]:
    return [point.train_seconds for point in record.curve if point.train_seconds]
