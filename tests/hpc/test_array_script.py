"""configs/slurm/array.sbatch refuses lists that do not fit the array; what it runs is tested under a real Slurm."""

import os
import subprocess

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "configs").glob("**/*.s[bh]*"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_sound_bash(script: object) -> None:
    assert len(SCRIPTS) == 5
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("lists", "task", "told"),
    [
        ([], "0", "Name the rows and then the seeds"),
        (["ghugre_sequential"], "0", "Name the rows and then the seeds"),
        (["ghugre_sequential aamir_table1", "1 2 3"], "6", "2 rows with 3 seeds are 6 runs"),
        (["ghugre_sequential aamir_table1", "1 2 3"], None, "--array=0-5"),
    ],
)
def test_lists_that_do_not_fit_the_array_are_told(lists: list[str], task: str | None, told: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    if task is not None:
        environment["SLURM_ARRAY_TASK_ID"] = task
    done = subprocess.run(
        ["bash", str(ROOT / "configs" / "slurm" / "array.sbatch"), *lists],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
