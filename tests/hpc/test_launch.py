"""Who started a process, and whether what was started fits the request."""

import sys
from typing import Any

import pytest

from cifar_hpc.errors import UserError
from cifar_hpc.hpc.launch import Launch, check_trainer, find_launch, first_host, tasks_per_node
from tests.conftest import ROOT, SEQUENTIAL, Refuse, two_cores

SRUN = {
    "SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "node[07-08]", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
}  # fmt: skip


def set_all(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


def test_srun_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, SRUN)
    launch = find_launch()
    assert launch == Launch("srun", 3, 4, 1, 2, "node07", 22_345)
    assert launch.nodes == 2


def test_a_batch_script_without_srun_starts_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"})
    assert find_launch() is None


@pytest.mark.parametrize(("text", "tasks"), [("4", [4]), ("2(x3),1", [2, 2, 2, 1]), ("1,2", [1, 2])])
def test_tasks_per_node(text: str, tasks: list[int]) -> None:
    assert tasks_per_node(text) == tasks


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("node[03-07,9],x", "node03"), ("n[5]", "n5"), ("10.0.0.1", "10.0.0.1")],
)
def test_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_uneven_slurm_tasks_are_refused(monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    set_all(monkeypatch, SRUN | {"SLURM_STEP_TASKS_PER_NODE": "3,1"})
    assert "--ntasks-per-node" in refuse("fit", *SEQUENTIAL)


def test_missing_mpi4py_is_told(monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    set_all(monkeypatch, {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"})
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # what Python finds when a package is not there
    assert "pip install -e '.[mpi]'" in refuse("fit", *SEQUENTIAL)


def test_missing_deepspeed_is_told(monkeypatch: pytest.MonkeyPatch, refuse: Refuse) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    told = refuse("fit", *SEQUENTIAL, "-c", ROOT / "configs" / "cpu_ddp2.yaml", "--trainer.strategy=deepspeed_stage_2")
    assert "pip install -e '.[deepspeed]'" in told


def test_more_processes_than_cores_are_refused(refuse: Refuse) -> None:
    assert "trainer.devices is 4096" in refuse("fit", *SEQUENTIAL, "--trainer.devices=4096")


def test_hosts_without_a_launcher_are_refused(refuse: Refuse) -> None:
    assert "torchrun, mpirun or srun" in refuse("fit", *SEQUENTIAL, "--trainer.num_nodes=2")


@two_cores
def test_uneven_batches_name_what_works(refuse: Refuse) -> None:
    told = refuse("fit", *SEQUENTIAL, "-c", ROOT / "configs" / "cpu_ddp2.yaml", "--data.batch_size=25")
    assert "these numbers of processes can: 1, 5, 25" in told


def test_more_gpus_than_exist_are_refused() -> None:
    settings = {"devices": 4, "num_nodes": 1, "accelerator": "gpu"}
    check_trainer(settings, None, cores=2, gpus=4, place=str)
    with pytest.raises(UserError, match="this machine has 2"):
        check_trainer(settings, None, cores=2, gpus=2, place=str)


@pytest.mark.parametrize(
    ("devices", "nodes", "fits"),
    [("auto", 1, True), (-1, 1, True), (4, 1, True), (2, 2, True), ("2", 2, True), (1, 1, False), (4, 2, False)],
)
def test_devices_must_be_what_was_started(devices: Any, nodes: int, fits: bool) -> None:
    settings = {"devices": devices, "num_nodes": nodes, "accelerator": "cpu"}
    launch = Launch("srun", 0, 4, 0, 2, "node07", 22_345)
    if fits:
        check_trainer(settings, launch, cores=2, gpus=0, place=str)
    else:
        with pytest.raises(UserError, match="srun started 4 processes"):
            check_trainer(settings, launch, cores=2, gpus=0, place=str)
