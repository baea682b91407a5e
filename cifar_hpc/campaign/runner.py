"""Carries out a plan: one run after another, each in a process of its own that can be stopped and resumed."""

import json
import shutil
import signal
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cifar_hpc.campaign.plan import CampaignRequest, Run, is_about_seconds
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.hpc.child import curve, fit_process, watch
from cifar_hpc.output import write_file
from cifar_hpc.records import run_directory
from cifar_hpc.records.run_directory import write_json

NICE = 19
"""The lowest priority: whatever else the machine has to do comes first."""

_PATIENCE_SECONDS = 120
"""How long a run's process, whose campaign was killed, may take to end."""


def home() -> Path:
    """Returns the folder where campaigns live: one within for each plan, named by the time at which it was made."""
    return run_directory.runs() / "campaign"


def write_plan(request: CampaignRequest, runs: list[Run], ends: datetime) -> Path:
    """Writes a plan before its first run, once and for all.

    Returns:
        Its folder.
    """
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names = (stamp + (f"-{number}" if number > 1 else "") for number in range(1, 10_000))
    folder = next(folder for name in names if not (folder := home() / name).exists())
    folder.mkdir(parents=True)
    content = {
        "schema": 1,
        "planned": datetime.now(UTC).isoformat(timespec="seconds"),
        "ends": ends.isoformat(timespec="seconds"),
        "request": asdict(request),
        "runs": [asdict(run) | {"hours": run.hours} for run in runs],
    }
    write_json(folder / "plan.json", content)
    return folder


def read_plans() -> list[tuple[Path, dict[str, Any]]]:
    """Reads all plans that were written here, the newest last.

    Raises:
        UserError: if one cannot be read.
    """
    found = []
    for file in sorted(home().glob("*/plan.json")):
        try:
            found.append((file.parent, json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {error}") from error
    return found


def planned_runs(content: dict[str, Any]) -> list[Run]:
    """Makes the runs of a plan that was read."""
    return [Run(**{key: value for key, value in run.items() if key != "hours"}) for run in content["runs"]]


def arguments(run: Run, request: CampaignRequest) -> list[str]:
    """Writes what follows `fit` on the command line of a run, to begin it as well as to go on with it."""
    row = chosen().row(run.row)
    threads = [] if request.threads is None else ["--trainer.threads", str(request.threads)]
    epochs = ["--trainer.max_epochs", str(run.epochs)] if is_about_seconds(row) else []
    return [
        *(part for file in (str(row.path), *request.overlays) for part in ("-c", file)),
        *(*threads, *epochs),
        *("--seed_everything", str(run.seed), "--run_dir", run.folder, "--resume"),
    ]


def carry_out(run: Run, request: CampaignRequest, folder: Path, deadline: float) -> str:
    """Begins a run or goes on with it, until it is complete, has done what was planned, or time is up.

    Args:
        run: a run of the plan.
        request: the request that the plan answers.
        folder: the plan's folder, for what the run prints.
        deadline: end of the campaign, on the monotonic clock.

    Returns:
        `complete`, `stopped` (it can go on), or a sentence on why it could not be run.
    """
    own = Path(run.folder)
    try:
        _wait_until_free(own)
    except UserError as error:
        return str(error)
    if own.exists() and not (own / "result.json").exists():
        shutil.rmtree(own)  # nothing was recorded before it was killed
    seconds = run.epoch_seconds or 0.0
    seen = -1

    def enough(done: int) -> bool:
        nonlocal seconds, seen
        if done >= run.epochs:
            return False  # the test after the last epoch is let through
        now = time.monotonic()
        if done >= run.until > run.done or now >= deadline:
            return True
        if done > seen:
            seen = done
            last = [point for point in curve(own) if point["epoch"] == done]
            seconds = sum(point["train_seconds"] + point["eval_seconds"] for point in last) or seconds
            return now + seconds > deadline
        return False

    log = folder / f"{run.row}-seed{run.seed}.log"
    with fit_process(arguments(run, request), log, NICE) as process:
        watch(process, own, enough)
    status = run_directory.status(own)
    if status == "complete":
        return "complete"
    if process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM):
        return "stopped"
    if process.returncode < 0:
        return f"killed by {signal.Signals(-process.returncode).name}"
    lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    return lines[-1].removeprefix("cifar_hpc: ")


def _wait_until_free(folder: Path) -> None:
    """Waits for a process that is still ending in a run's directory.

    Raises:
        UserError: if it stays at work.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while folder.exists():
        try:
            with run_directory.hold(folder):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def is_at_work() -> bool:
    """Checks whether a campaign is at work in this working directory."""
    if not home().exists():
        return False
    try:
        with run_directory.hold(home()):
            return False
    except UserError:
        return True


_SCRIPT = """#!/bin/bash
# {count} runs that `campaign --slurm` planned on {planned}, a job of an array for each. From here:
#   sbatch {file}
# A job that Slurm puts back into the queue goes on with its own run.
#SBATCH --job-name=cifar_hpc
#SBATCH --array=0-{last}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cores}{gpus}
#SBATCH --time={time}
#SBATCH --signal=USR1@90
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={folder}/%a.log
set -euo pipefail
runs=(
{lines}
)
read -r folder arguments <<< "${{runs[SLURM_ARRAY_TASK_ID]}}"
if grep -qs '"status": "complete"' "$folder/result.json"; then exit 0; fi
# shellcheck disable=SC2086  # the arguments are words
exec srun --kill-on-bad-exit=1 --cpus-per-task="${{SLURM_CPUS_PER_TASK:-1}}" \\
    "${{PYTHON:-python}}" -m cifar_hpc fit $arguments
"""


def write_array_job(runs: list[Run], request: CampaignRequest, folder: Path) -> Path:
    """Writes the runs of a plan as one array job of Slurm.

    A job's time is one and a half times that of the longest run, and what is left of the hours where nothing tells.
    """
    hours = max((run.hours if run.hours is not None else request.hours for run in runs), default=0.0)
    minutes = max(10, round(1.5 * 60 * hours))
    file = folder / "array.sbatch"
    words = ([run.folder, *arguments(run, request)] for run in runs)
    text = _SCRIPT.format(
        count=len(runs),
        planned=folder.name,
        file=file,
        last=len(runs) - 1,
        cores=request.threads or 2,
        gpus="\n#SBATCH --gpus=1" * any(request.accelerator(chosen().row(run.row)) == "cuda" for run in runs),
        time=f"{minutes // 60:02}:{minutes % 60:02}:00",
        folder=folder,
        lines="\n".join(f'    "{" ".join(line)}"' for line in words),
    )
    write_file(file, text)
    return file
