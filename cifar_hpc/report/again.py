"""The commands that make records again: with the settings, overlay, precision and the like that they were made with."""

import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cifar_hpc.collection.experiment import as_argument
from cifar_hpc.collection.folder import Collection, overlays
from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.records.record import Record
from cifar_hpc.verify.judge import RowVerdict

_ENGINE: dict[str, Any] = {
    "accelerator": "auto",
    "devices": "auto",
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "threads": None,
    "benchmark": None,
    "kernels": "ours",
}
"""Trainer flags that say where and how fast a run happens, with what a row means that leaves them out."""


def commands(verdict: RowVerdict, records: Sequence[Record], row: Row, collection: Collection) -> tuple[str, ...]:
    """Writes the commands that would make a verdict's records again, and judge them.

    Args:
        verdict: the verdict on the row.
        records: the verdict's records.
        row: the row.
        collection: the collection whose row it is.
    """
    flags = [f"--{key} {shlex.quote(as_argument(value))}" for key, (_, value) in verdict.changed.items()]
    if verdict.tier == "prefix":
        flags.append(f"--trainer.max_epochs {max(record.epochs_done for record in records)}")
    engines: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for record in records:
        engines[engine(record, row)].add(record.seed)
    lines = []
    for words, seeds in engines.items():
        fit = " ".join([collection.command("fit", "-c", row.reproduction.name, *words), *flags])
        told = " ".join(map(str, sorted(seeds)))
        several = f"for seed in {told}; do\n  {fit} --seed_everything $seed\ndone"
        lines.append(several if len(seeds) > 1 else f"{fit} --seed_everything {told}")
    return (*lines, collection.command("verify", verdict.row))


def engine(record: Record, row: Row) -> tuple[str, ...]:
    """Finds what a run's command line had behind the row: the name of an overlay that says it all, else flags.

    Empty where the run took the row as it is, or keeps no configuration.
    """
    try:
        trainer = read_yaml(record.path.with_name("config.yaml"))["trainer"]
    except (UserError, KeyError):
        return ()
    ran, written = (
        {key: group.get(key, usual) for key, usual in _ENGINE.items()} for group in (trainer, row.config["trainer"])
    )
    if ran == written:
        return ()
    for name, file in overlays().items():
        overlay = read_yaml(file)
        if overlay.keys() == {"trainer"} and written | overlay["trainer"] == ran:
            return "-c", name
    changed = {key: value for key, value in ran.items() if value != written[key]}
    return tuple(word for key, value in changed.items() for word in (f"--trainer.{key}", as_argument(value)))
