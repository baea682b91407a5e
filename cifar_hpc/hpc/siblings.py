"""What the processes of a run tell each other before training: whether all can start, and where they write."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store

from cifar_hpc.errors import UserError
from cifar_hpc.hpc.launch import Launch

PATIENCE = timedelta(seconds=45)
"""How long CPU processes in training wait for each other: within a minute a dead host is noticed and told."""

_REACH = timedelta(seconds=25)
"""How long a process tries to reach process 0: a wrong address is told within a minute, its own start included."""

_ANSWER = timedelta(seconds=120)
"""How long a process waits for what the others have to say before training."""


_LEAVE = timedelta(seconds=5)
"""How long process 0 stays for the others when all end."""


class Siblings:
    """The processes that a launcher started, over torch's key-value store; one process alone without it.

    Args:
        launch: see `find_launch`.

    Raises:
        UserError: if process 0 cannot be reached.
    """

    def __init__(self, launch: Launch | None) -> None:
        self.launch = launch
        self.rank = launch.rank if launch else 0
        self.world_size = launch.world_size if launch else 1
        self._store = _connect(launch) if launch and launch.world_size > 1 else None

    def share(self, topic: str, value: Any) -> list[Any]:
        """Collects what each process says on a topic, in the order of ranks. All must ask.

        Args:
            topic: a name used once.
            value: anything that JSON can hold.

        Raises:
            UserError: if a process does not answer in time.
        """
        if self._store is None:
            return [value]
        try:
            self._store.set(f"cifar_hpc/{topic}/{self.rank}", json.dumps(value))
            keys = [f"cifar_hpc/{topic}/{rank}" for rank in range(self.world_size)]
            self._store.wait(keys, _ANSWER)
            return [json.loads(self._store.get(key)) for key in keys]
        except RuntimeError as error:  # torch's own errors of the store are of this kind
            raise UserError(
                f"process {self.rank} on {socket.gethostname()} waits in vain for all {self.world_size} "
                f"processes (for at most {_ANSWER.seconds} s); see what the others say, and whether they were started"
            ) from error

    @contextmanager
    def together(self, step: str) -> Iterator[None]:
        """Has all processes take a step or none: when one refuses, all end with its status, and it alone speaks."""
        refusal: Exception | None = None
        try:
            yield
        except Exception as error:
            refusal = error
        refused = [rank for rank, no in enumerate(self.share(step, refusal is not None)) if no]
        if refused:
            self._take_leave(step)
        if refusal is not None and refused[0] == self.rank:
            raise refusal
        if refused:
            raise SystemExit(2)

    def _take_leave(self, step: str) -> None:
        """Keeps process 0, which may hold the store, until the others have read what it said."""
        if self._store is None:
            return
        with suppress(RuntimeError):  # a process that is gone already has no more to read
            self._store.set(f"cifar_hpc/{step}/read/{self.rank}", "")
            if self.rank == 0:
                self._store.wait([f"cifar_hpc/{step}/read/{rank}" for rank in range(self.world_size)], _LEAVE)

    def join_process_group(self, device: torch.device) -> None:
        """Makes torch's process group over the same store, before Lightning would look for another meeting point."""
        if self._store is None:
            return
        on_cpu = device.type == "cpu"
        distributed.init_process_group(
            "gloo" if on_cpu else distributed.get_default_backend_for_device(device),
            store=PrefixStore("process_group", self._store),
            rank=self.rank,
            world_size=self.world_size,
            timeout=PATIENCE if on_cpu else None,
            device_id=None if on_cpu else device,
        )


def _connect(launch: Launch) -> Store:
    listens = launch.rank == 0 and not launch.launcher_listens
    try:
        if not listens:
            _knock(launch.address, launch.port)
        return distributed.TCPStore(  # type: ignore[attr-defined]
            launch.address, launch.port, is_master=listens, timeout=_REACH, wait_for_workers=False
        )
    except (OSError, RuntimeError, ValueError) as error:
        what = "cannot listen at" if listens else "cannot reach process 0 at"
        raise UserError(
            f"process {launch.rank} on {socket.gethostname()} {what} {launch.address}, port {launch.port}, within "
            f"{_REACH.seconds} s; check MASTER_ADDR and MASTER_PORT, name resolution and firewalls"
        ) from error


def _knock(address: str, port: int) -> None:
    """Waits until somebody listens; torch's own attempts may take twice as long as they are told to."""
    deadline = time.monotonic() + _REACH.seconds
    while True:
        try:
            socket.create_connection((address, port), timeout=max(1.0, deadline - time.monotonic())).close()
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)
