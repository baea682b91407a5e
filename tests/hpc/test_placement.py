"""How a machine's cores are shared between the processes on it."""

import os
import subprocess
import sys

import pytest

from cifar_hpc.hpc.placement import Placement, share_cores, usable_core_numbers
from tests.conftest import two_cores


def test_one_process_is_left_alone() -> None:
    assert share_cores([[0, 1, 2, 3]], 0, None, bind=True) == Placement(None, None)
    assert share_cores([[0, 1, 2, 3]], 0, 3, bind=True) == Placement(None, 3)


@two_cores
def test_processes_get_cores_of_their_own() -> None:
    cores = usable_core_numbers()
    shares = [share_cores([cores] * len(cores), index, None, bind=True) for index in range(len(cores))]
    assert {core for share in shares for core in share.cores or ()} == set(cores)
    assert all(share.cores is not None and len(share.cores) == share.threads == 1 for share in shares)


def test_what_cannot_be_shared_evenly_stays_idle() -> None:
    shares = [share_cores([[0, 1, 2, 3, 4]] * 2, index, None, bind=False) for index in range(2)]
    assert [share.threads for share in shares] == [2, 2]


def test_the_users_threads_win() -> None:
    assert share_cores([[0, 1, 2, 3]] * 2, 1, 7, bind=False) == Placement(None, 7)


def test_more_processes_than_cores_are_not_bound() -> None:
    assert share_cores([[0, 1]] * 3, 2, None, bind=True) == Placement(None, 1)


def test_a_launchers_binding_is_kept() -> None:
    assert share_cores([[0, 1], [2, 3]], 1, None, bind=True) == Placement(None, 2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no processes")
def test_every_thread_is_bound_and_the_environment_loses() -> None:
    code = (
        "import os, torch; from pathlib import Path; from cifar_hpc.hpc.placement import Placement\n"
        "torch.ones(10**6).sum()  # starts torch's threads\n"
        "core = min(os.sched_getaffinity(0)); Placement((core,), 3).apply()\n"
        "assert {tuple(os.sched_getaffinity(int(t.name))) for t in Path('/proc/self/task').iterdir()} == {(core,)}\n"
        "assert torch.get_num_threads() == 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
