"""Which cores and how many threads each process of a machine gets."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from cifar_hpc.speed.epoch_callback import EpochCallback


@dataclass(frozen=True)
class Placement:
    """A process's share of its machine.

    Attributes:
        cores: numbers of the cores that it is bound to; None where it stays where the system or its launcher put it.
        threads: number of intra-op threads; None for torch's own choice.
    """

    cores: tuple[int, ...] | None
    threads: int | None

    def apply(self) -> None:
        """Binds every thread of this process, and sets the number of those to come."""
        if self.cores is not None:
            for thread in Path("/proc/self/task").iterdir():
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setaffinity(int(thread.name), self.cores)
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def share_cores(usable: list[list[int]], index: int, threads: int | None, bind: bool) -> Placement:
    """Shares a machine's cores between the processes on it, in equal parts.

    `OMP_NUM_THREADS` is not asked: torchrun and Lightning set it for processes that did not, and what they set
    cannot be told from a user's choice, which is `trainer.threads`.

    Args:
        usable: cores that each process on this machine may use, in the order of ranks.
        index: this process among them.
        threads: the user's choice, which wins.
        bind: whether to bind at all.
    """
    mine = usable[index]
    if len(usable) == 1:
        return Placement(None, threads)
    if any(cores != mine for cores in usable):  # the launcher has bound the processes already
        return Placement(None, threads or len(mine))
    size = len(mine) // len(usable)
    if size == 0:  # more processes than cores: the system must share them out by time
        return Placement(None, threads or 1)
    share = tuple(sorted(mine, key=_place_in_machine)[index * size : (index + 1) * size])
    return Placement(tuple(sorted(share)) if bind else None, threads or size)


def usable_core_numbers() -> list[int]:
    """Lists the cores that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def machine() -> str:
    """Identifies this machine, by one text for all processes on it, whatever they call their host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


def _place_in_machine(core: int) -> tuple[int, int, int]:
    """Finds socket, physical core and number, by whose order hyperthreads of one core fall to one process."""
    topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        socket, physical = (int((topology / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        return 0, core, core
    return socket, physical, core


class Place(EpochCallback):
    """Places each process once all run, and notes on the Trainer what every process really got.

    Not before: processes that Lightning starts inherit the cores of the first.

    Args:
        threads: the user's choice.
    """

    def __init__(self, threads: int | None) -> None:
        self.threads = threads

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tells the others of this machine and its cores, takes its share, and tells what became of it."""
        found = _gather({"machine": machine(), "cores": usable_core_numbers()}, trainer.world_size)
        here = [rank for rank, each in enumerate(found) if each["machine"] == machine()]
        usable = [found[rank]["cores"] for rank in here]
        bind = trainer.strategy.root_device.type == "cpu"
        share_cores(usable, here.index(trainer.global_rank), self.threads, bind).apply()
        got = {"rank": trainer.global_rank, "cores": usable_core_numbers(), "threads": torch.get_num_threads()}
        trainer.processes = _gather(got, trainer.world_size)  # type: ignore[attr-defined]


def _gather(mine: dict[str, Any], world_size: int) -> list[dict[str, Any]]:
    everyone: list[Any] = [mine] * world_size
    if world_size > 1:
        torch.distributed.all_gather_object(everyone, mine)
    return everyone
