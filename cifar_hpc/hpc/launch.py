"""Who started this process: torchrun, mpirun, srun, or nobody but the user.

A launcher starts every process of a run by itself and tells each its number through environment variables.
Without one, Lightning starts the processes after the first itself.
"""

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from cifar_hpc.errors import UserError
from cifar_hpc.output import counted


@dataclass(frozen=True)
class Launch:
    """One process among those that a launcher started.

    Attributes:
        launcher: its name.
        rank: number of this process among all.
        world_size: number of all processes.
        local_rank: number of this process among those of its host.
        local_size: number of processes on its host.
        address: host of process 0.
        port: where process 0, or the launcher itself, listens.
        launcher_listens: whether the launcher listens there (torchrun does).
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    launcher_listens: bool = False

    @property
    def nodes(self) -> int:
        """Number of hosts, each with as many processes."""
        return self.world_size // self.local_size


def find_launch() -> Launch | None:
    """Finds this process's place in what a launcher started; None when it was started alone.

    torchrun comes first, as it may run under Slurm; then mpirun, which may as well.

    Raises:
        UserError: if mpirun started it and mpi4py is missing, or hosts got different numbers of tasks.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return _torchrun(env)  # a single process too: Lightning would take it for one of several
    if int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return _mpirun(env)
    # In a shell that srun opened there is one task, whose user may want Lightning to start more processes.
    if "SLURM_STEP_ID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _srun(env)
    return None


def _torchrun(env: Mapping[str, str]) -> Launch:
    return Launch(
        "torchrun",
        rank=int(env["RANK"]),
        world_size=int(env["WORLD_SIZE"]),
        local_rank=int(env["LOCAL_RANK"]),
        local_size=int(env["LOCAL_WORLD_SIZE"]),
        address=env["MASTER_ADDR"],
        port=int(env["MASTER_PORT"]),
        launcher_listens=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _mpirun(env: Mapping[str, str]) -> Launch:
    rank, world_size = int(env["OMPI_COMM_WORLD_RANK"]), int(env["OMPI_COMM_WORLD_SIZE"])
    address, port = _mpi_meeting_point(rank)
    return Launch(
        "mpirun",
        rank=rank,
        world_size=world_size,
        local_rank=int(env["OMPI_COMM_WORLD_LOCAL_RANK"]),
        local_size=int(env["OMPI_COMM_WORLD_LOCAL_SIZE"]),
        address=env.get("MASTER_ADDR", address),
        port=int(env.get("MASTER_PORT", port)),
    )


def _mpi_meeting_point(rank: int) -> tuple[str, int]:
    """Asks MPI to tell all processes the name of process 0's host and a port that is free there."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is there, but MPI's own library is not
        raise UserError(
            "mpirun started this process, but mpi4py cannot be imported "
            f"({' '.join(str(error).split())}); install it with `pip install -e '.[mpi]'`"
        ) from error
    point: tuple[str, int] = MPI.COMM_WORLD.bcast((socket.gethostname(), _free_port()) if rank == 0 else None)
    return point


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def _srun(env: Mapping[str, str]) -> Launch:
    world_size = int(env["SLURM_STEP_NUM_TASKS"])
    tasks = set(tasks_per_node(env.get("SLURM_STEP_TASKS_PER_NODE", str(world_size))))
    if len(tasks) > 1:
        raise UserError(
            f"Slurm gave its hosts {env['SLURM_STEP_TASKS_PER_NODE']} tasks, but each must run as many processes as "
            "the others; ask for --ntasks-per-node instead of --ntasks"
        )
    return Launch(
        "srun",
        rank=int(env["SLURM_PROCID"]),
        world_size=world_size,
        local_rank=int(env["SLURM_LOCALID"]),
        local_size=tasks.pop(),
        address=env.get("MASTER_ADDR") or first_host(env.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        # Jobs that share a host must not meet at one port: the number of the job chooses it.
        port=int(env.get("MASTER_PORT") or 20_000 + int(env["SLURM_JOB_ID"]) % 10_000),
    )


def tasks_per_node(text: str) -> list[int]:
    """Writes out Slurm's short form of tasks on each host: `2(x3),1` as [2, 2, 2, 1]."""
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    return [int(part[1]) for part in parts if part for _ in range(int(part[2] or 1))]


def first_host(nodelist: str) -> str:
    """Finds the first host of Slurm's short form of a list: node03 in `node[03-07,9],other`."""
    first = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\])?", nodelist)
    return first[1] + (first[2] or "") if first else nodelist


def check_trainer(
    settings: Mapping[str, Any], launch: Launch | None, cores: int, gpus: int, place: Callable[[str], str]
) -> None:
    """Compares the Trainer's devices with the processes that there are.

    Args:
        settings: the group `trainer` of the configuration.
        launch: what a launcher started; None without one.
        cores: number of cores that this process may use.
        gpus: number of GPUs that this process may use.
        place: names what set a key, the command line or a file.

    Raises:
        UserError: if they differ, or if more devices are asked for than there are; for processes that nobody has
            started yet, a core is a CPU's device.
    """
    devices, nodes = count_devices(settings["devices"]), settings["num_nodes"]
    here = launch.local_size if launch else devices

    def refuse(key: str, told: str) -> NoReturn:
        raise UserError(f"{place(key)}: {told}")

    if settings["accelerator"] in ("gpu", "cuda") and here is not None and here > gpus:
        refuse(
            "trainer.devices",
            f"{here} GPUs are asked for, but this machine has {gpus} that can be used; set trainer.devices to {gpus} "
            "or fewer, or start as few processes on each host",
        )
    if launch is None:
        if settings["accelerator"] == "cpu" and devices is not None and devices > cores:
            refuse(
                "trainer.devices",
                f"trainer.devices is {devices}, but on this machine {counted(cores, 'core')} can be used; set "
                f"trainer.devices to {cores} or fewer",
            )
        if nodes > 1:
            refuse(
                "trainer.num_nodes",
                f"trainer.num_nodes is {nodes}, but no launcher started this process; start it with torchrun, mpirun "
                "or srun on each host (docs/cluster.md)",
            )
    elif devices is not None and devices * nodes != launch.world_size:
        refuse(
            "trainer.devices",
            f"{launch.launcher} started {launch.world_size} processes, but trainer.devices {devices} × "
            f"trainer.num_nodes {nodes} asks for {devices * nodes}; start as many, or add "
            "`-c cpu_cluster` (on GPUs `-c gpu_cluster`), which takes what was started",
        )


def count_devices(devices: Any) -> int | None:
    """Counts the devices that a Trainer's flag asks for; None where it leaves that to what is there."""
    if isinstance(devices, list):
        return len(devices)
    return None if devices in ("auto", -1, "-1") else int(devices) if str(devices).isdigit() else None
