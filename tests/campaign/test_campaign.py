"""A campaign in processes of its own, on the sample: killed, stopped, out of time, resumed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_hpc.campaign import runner
from cifar_hpc.campaign.plan import CampaignRequest, Run
from cifar_hpc.hpc.child import saved_epochs
from tests.conftest import HANGING, ROOT, Command, record, shared, wait_for
from tests.faults import numbers
from tests.verify.test_forgeries import copies, not_at_all

ROW = "ghugre_sequential"
EPOCHS = 12
SECONDS = {"train_seconds", "eval_seconds"}


def overlay(folder: Path, epochs: int = EPOCHS) -> str:
    file = folder / "sample.yaml"
    file.write_text(
        f"trainer: {{accelerator: cpu, devices: 1, precision: 32-true, threads: 1, max_epochs: {epochs}}}\n"
        "data: {sample: true}\n"
    )
    return file.name


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    line = [sys.executable, "-m", "cifar_hpc", "campaign", ROW, "-c", overlay(folder), *arguments]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, err = process.communicate(timeout=HANGING)
    return process.returncode, err


def children(number: int) -> list[int]:
    """Processes that a process started."""
    try:
        return [int(n) for n in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    except OSError:
        return []


def at_work(number: int) -> bool:
    """Whether a process has not ended; one that nobody waits for has."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def results(folder: Path) -> dict[int, tuple[list[dict[str, object]], dict[str, np.ndarray[Any, Any]]]]:
    """By seed, the curves without their seconds, and the predictions."""
    found = {}
    for file in sorted((folder / "runs" / ROW).glob("*/result.json")):
        content = record(file.parent)
        assert content["status"] == "complete", file
        assert content["seed"] not in found, "a seed was run twice"
        curve = [{k: v for k, v in point.items() if k not in SECONDS} for point in content["curve"]]
        with np.load(file.parent / "predictions.npz") as arrays:
            found[content["seed"]] = curve, dict(arrays.items())
    return found


def assert_same(first: Path, second: Path, *seeds: int) -> None:
    ours, theirs = results(first), results(second)
    assert ours.keys() == set(seeds) <= theirs.keys()
    for seed, (curve, arrays) in ours.items():
        assert curve == theirs[seed][0]
        assert len(curve) == EPOCHS
        assert arrays.keys() == theirs[seed][1].keys()
        assert all(np.array_equal(array, theirs[seed][1][name]) for name, array in arrays.items())


def kill_again_and_again(folder: Path, kills: int) -> None:
    """Kills a campaign and its child outright, at any moment of its work, and ends it at last."""
    moments = random.Random(kills)
    for _ in range(kills):
        before = sum(map(saved_epochs, folder.glob(f"runs/{ROW}/*")))
        process = start(folder, "--hours", "1", "--seeds", "2")
        # From before the child has read its settings to well into its epochs, or the next run.
        more = moments.choice((-1, 0, 1, 3))

        def is_there(process: "subprocess.Popen[str]" = process, until: int = before + more) -> bool:
            done = sum(map(saved_epochs, folder.glob(f"runs/{ROW}/*")))
            return process.poll() is not None or (bool(children(process.pid)) and done >= until)

        wait_for(is_there)
        time.sleep(moments.uniform(0, 1))
        victims = children(process.pid)
        process.kill()
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        process.communicate(timeout=HANGING)
        wait_for(lambda victims=victims: not any(map(at_work, victims)))  # type: ignore[misc]
    status, err = finish(start(folder, "--hours", "1", "--seeds", "2"))
    assert status == 0, err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        status, err = finish(start(folder, "--hours", "1", "--seeds", "2"))
        assert status == 0, err

    return shared(tmp_path_factory, "undisturbed campaign", make)


@pytest.mark.faults
def test_killed_again_and_again_it_ends_with_the_records_of_an_undisturbed_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    kill_again_and_again(tmp_path / "killed", len(numbers(20, 2)))
    assert_same(tmp_path / "killed", undisturbed, 1, 2)


def test_the_plan_was_written_before_and_holds_what_was_run(undisturbed: Path) -> None:
    (file,) = (undisturbed / "runs" / "campaign").glob("*/plan.json")
    assert [(run["row"], run["seed"]) for run in json.loads(file.read_text())["runs"]] == [(ROW, 1), (ROW, 2)]
    first = min(path.stat().st_mtime for path in (undisturbed / "runs" / ROW).rglob("config.yaml"))
    assert file.stat().st_mtime <= first


def test_sigterm_ends_it_with_its_child_and_the_same_command_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, "--hours", "1")
    run = folder / "runs" / ROW / "seed1"
    wait_for(lambda: saved_epochs(run) >= 3 or process.poll() is not None)
    (child,) = children(process.pid)
    assert os.getpriority(os.PRIO_PROCESS, child) == 19
    process.terminate()
    status, err = finish(process)
    assert status == 128 + signal.SIGTERM
    assert "stopped by a signal" in err.splitlines()[-1]
    assert not at_work(child)
    left = record(run)
    assert left["status"] == "partial"
    assert saved_epochs(run) >= left["epochs"]["done"] - 1
    status, err = finish(start(folder, "--hours", "1"))
    assert status == 0, err
    assert "going on in runs/ghugre_sequential/seed1" in err
    assert_same(folder, undisturbed, 1)


def test_it_says_where_it_stands_and_its_child_does_not_outlive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    folder = tmp_path / "works"
    process = start(folder, "--hours", "1")
    run = folder / "runs" / ROW / "seed1"
    wait_for(lambda: saved_epochs(run) >= 1 or process.poll() is not None)
    (child,) = children(process.pid)
    os.kill(child, signal.SIGSTOP)  # so that it does not end by itself
    try:
        monkeypatch.chdir(folder)
        told = command("campaign", "--status")
        assert told.status == 0
        assert "at work until" in told.out
        assert f"of {EPOCHS} epochs" in told.out
        assert "A campaign is at work in this folder already" in command("campaign", ROW, "--hours", 1).sentence()
    finally:
        process.kill()
        process.communicate(timeout=HANGING)
        os.kill(child, signal.SIGCONT)
    wait_for(lambda: not at_work(child))
    assert record(run)["status"] == "partial"


def test_it_stops_by_itself_when_its_hours_are_over(tmp_path: Path, command: Command) -> None:
    (tmp_path / "results").mkdir()  # so that no record tells how long an epoch takes
    begun = time.monotonic()
    assert command("campaign", ROW, "-c", overlay(tmp_path, epochs=1), "--hours", 1).status == 0
    seconds = 3 * (time.monotonic() - begun)  # on this machine, for two starts and what comes between
    shutil.rmtree(tmp_path / "runs")
    ends = time.time() + seconds
    done = command("campaign", ROW, "-c", overlay(tmp_path, epochs=100_000), "--hours", seconds / 3600)
    assert done.status == 0
    assert "its first epoch tells" in done.out
    run = tmp_path / "runs" / ROW / "seed1"
    assert record(run)["status"] == "partial"
    assert record(run)["epochs"]["done"] - saved_epochs(run) <= 1
    newest = max((run / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    assert newest.stat().st_mtime < ends + seconds / 3
    assert record(run)["epochs"]["done"] > 1  # it went on when it knew
    status = command("campaign", "--status", "--json", "-")
    told = json.loads(status.out)
    assert told["at_work"] is False
    assert told["runs"][0]["status"] == "partial"
    assert told["runs"][0]["epochs"]["done"] == record(run)["epochs"]["done"]


def test_a_run_that_cannot_be_run_is_told_and_the_others_go_on(tmp_path: Path, command: Command) -> None:
    (tmp_path / "broken.yaml").write_text("trainer: {precision: nonsense}\n")
    told = command("campaign", ROW, "-c", overlay(tmp_path, 1), "-c", "broken.yaml", "--hours", 1)
    assert told.status == 2
    assert "ghugre_sequential seed 1: " in told.err.splitlines()[-1]
    assert "trainer.precision is nonsense" in told.err.splitlines()[-1]


def plan_of(*runs: tuple[str, int]) -> None:
    """Writes a plan, as a campaign does."""
    planned = [
        Run(row, seed, f"runs/{row}/seed{seed}", 1, 0, 1, None, "its first epoch tells", {row: []}, False)
        for row, seed in runs
    ]
    runner.write_plan(CampaignRequest(1), planned, datetime.now(UTC))


def test_complete_whole_runs_of_the_plan_are_kept_whatever_they_gave(
    tmp_path: Path, finished_run: Path, command: Command
) -> None:
    whole, part = ROOT / "results" / "shahrin_table2_row7" / "seed1", ROOT / "results" / "shahrin_table2_row3" / "seed1"
    (tmp_path / "results" / "shahrin_table2_row7").mkdir(parents=True)
    shutil.copytree(part, tmp_path / "results" / "shahrin_table2_row7" / "seed1")  # taken by another record
    for source, place in (
        (whole, "shahrin_table2_row7/seed1"),
        (part, "shahrin_table2_row3/seed1"),
        (finished_run, f"{ROW}/seed1"),
        (ROOT / "results" / "aamir_table1" / "seed1", "aamir_table1/seed1"),
    ):
        shutil.copytree(source, tmp_path / "runs" / place)
    plan_of(("shahrin_table2_row7", 1), ("shahrin_table2_row3", 1), (ROW, 1), ("ghugre_parallel", 3))
    shutil.copyfile(ROOT / "README.md", tmp_path / "README.md")
    before = (tmp_path / "README.md").read_text()
    done = command("campaign", "--keep")
    # The record that lies there in place of another's is wrong, and said to be.
    assert "kept results/shahrin_table2_row7/seed1-2" in done.err
    assert [path.parent.name for path in sorted((tmp_path / "results").rglob("result.json"))] == ["seed1", "seed1-2"]
    for name in ("result.json", "predictions.npz", "config.yaml"):
        kept = tmp_path / "results" / "shahrin_table2_row7" / "seed1-2" / name
        assert kept.read_bytes() == (whole / name).read_bytes()
    assert list((tmp_path / "results" / "campaigns").glob("*.json"))
    assert (tmp_path / "README.md").read_text() != before
    again = command("campaign", "--keep")
    assert (again.status, again.err) == (0, "")


def test_a_copy_under_another_seed_is_told_and_not_kept(tmp_path: Path, command: Command) -> None:
    for seed, file in enumerate(copies(tmp_path / "made", range(1, 3), not_at_all), 1):
        shutil.copytree(file.parent, tmp_path / "runs" / ROW / f"seed{seed}")
    plan_of((ROW, 1), (ROW, 2))
    done = command("campaign", "--keep")
    assert done.status == 2
    assert f"runs/{ROW}/seed2/result.json is a copy" in done.err
    assert [path.parent.name for path in (tmp_path / "results").rglob("result.json")] == ["seed1"]


def test_the_array_job_runs_what_is_planned(tmp_path: Path, command: Command) -> None:
    done = command("campaign", ROW, "-c", overlay(tmp_path, 1), "--hours", 1, "--seeds", 2, "--slurm")
    assert done.status == 0
    script = tmp_path / done.out.splitlines()[-1].removeprefix("sbatch ")
    assert "#SBATCH --array=0-1\n" in script.read_text()
    assert "--gpus" not in script.read_text()
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"  # starts its command, as Slurm's does on the job's machine
    srun.write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    path = f"{srun.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHON": sys.executable, "SLURM_ARRAY_TASK_ID": "1"}
    for _ in range(2):  # the second time there is nothing to do
        subprocess.run(["bash", script], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert record(tmp_path / "runs" / ROW / "seed2")["status"] == "complete"
    assert [folder.name for folder in (tmp_path / "runs" / ROW).iterdir()] == ["seed2"]


def test_an_array_job_asks_for_the_gpu_that_its_overlay_takes(tmp_path: Path, command: Command) -> None:
    done = command("campaign", ROW, "-c", "gpu", "--hours", 1, "--seeds", 99, "--slurm")
    assert done.status == 0
    script = tmp_path / done.out.splitlines()[-1].removeprefix("sbatch ")
    assert "\n#SBATCH --cpus-per-task=2\n#SBATCH --gpus=1\n" in script.read_text()
