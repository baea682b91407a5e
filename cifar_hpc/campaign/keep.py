"""Keeps what campaigns planned and completed under results/, good or bad, and brings the tables up to date."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cifar_hpc.campaign.plan import is_about_seconds, tells_seconds
from cifar_hpc.campaign.runner import planned_runs, read_plans
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_file
from cifar_hpc.records.record import Record
from cifar_hpc.verify import reader

_FILES = ("config.yaml", "predictions.npz", "result.json")
_PAGES = {"--readme": Path("README.md"), "--durations": Path("docs/durations.md")}


def results() -> Path:
    """Returns the folder where records are kept: `results` here, or in the folder of a collection of one's own."""
    collection = chosen()
    return Path("results") if collection.is_default else collection.folder / "results"


def keep() -> tuple[list[str], list[str]]:
    """Copies the complete records of all planned runs that are not kept yet, and the plans.

    Returns:
        The folders that are new, and a sentence on each record that is not sound.
    """
    planned: list[Path] = []
    for folder, content in read_plans():
        copy = results() / "campaigns" / f"{folder.name}.json"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_file(copy, (folder / "plan.json").read_bytes())
        planned += [file for run in planned_runs(content) if (file := Path(run.folder) / "result.json").exists()]
    # Beside those that are kept, so that a copy of one of them is known.
    found = reader.read(dict.fromkeys([*reader.all_files(committed_only=True), *planned]))
    kept = [r for r in found.records if r.path in planned and ((r.tier == "full" and not r.changed) or _is_timed(r))]
    new = [place.as_posix() for record in kept if (place := _keep(record)) is not None]
    problems = [problem for problem in found.problems if problem.startswith(tuple(map(str, planned)))]
    return new, problems


def _is_timed(record: Record) -> bool:
    """Checks whether a record is all that is wanted of a row of which nothing is printed but seconds."""
    return is_about_seconds(chosen().row(record.name)) and tells_seconds(record)


def _keep(record: Record) -> Path | None:
    """Copies a record's files; null where they are kept already."""
    for attempt in range(1, 10_000):
        place = results() / record.name / (f"seed{record.seed}" + (f"-{attempt}" if attempt > 1 else ""))
        if not place.exists():
            part = place.with_name(f".{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name in _FILES:
                shutil.copyfile(record.path.with_name(name), part / name)
            part.rename(place)
            return place
        if _content(place / "result.json") == _content(record.path):
            return None
    raise UserError(f"{results() / record.name} holds ten thousand records of seed {record.seed}; remove some")


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def bring_tables_up_to_date() -> str:
    """Has `rows` write the README's table and docs/durations.md, where there are such; returns what goes wrong."""
    pages = [part for flag, page in _PAGES.items() if page.is_file() for part in (flag, str(page))]
    if not pages or not chosen().is_default:
        return ""
    done = subprocess.run(
        [sys.executable, "-m", "cifar_hpc", "rows", *pages], capture_output=True, text=True, check=False
    )
    return done.stderr.strip().removeprefix("cifar_hpc: ")
