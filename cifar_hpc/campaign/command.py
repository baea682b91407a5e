"""The command `campaign`: plans runs, carries them out in the hours that it is given, and says where it stands."""

import argparse
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cifar_hpc.campaign import keep, runner
from cifar_hpc.campaign.plan import CampaignRequest, Run, is_about_seconds, plan
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import EndedEarly, UserError
from cifar_hpc.hpc.child import curve, saved_epochs
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.records import environment, run_directory
from cifar_hpc.verify import reader

_FIRST, _MORE = "first evidence", "one more seed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `campaign`."""
    parser.add_argument("row", metavar="ROW", nargs="*", help="only these rows (default: all)")
    parser.add_argument("--hours", type=float, metavar="H", help="to spend; it stops by itself at an epoch's end")
    seeds_help = "that each row is to come to (default: one, then as `verify` says)"
    parser.add_argument("--seeds", type=int, metavar="N", help=seeds_help)
    parser.add_argument("--threads", type=int, metavar="K", help="of each run (default: the overlay's)")
    overlay_help = "overlay of every run (default: fast)"
    parser.add_argument("-c", "--config", action="append", metavar="FILE", help=overlay_help)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", dest="mode", action="store_const", const="dry-run", help="print the plan alone")
    what.add_argument("--slurm", dest="mode", action="store_const", const="slurm", help="write an array job instead")
    what.add_argument("--status", dest="mode", action="store_const", const="status", help="say where it stands")
    keep_help = "copy complete planned records to results/, and update the tables"
    parser.add_argument("--keep", action="store_true", help=keep_help)
    parser.add_argument("--json", metavar="FILE", help="write the plan or status to FILE (- for standard output)")
    parser.set_defaults(mode="run")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `campaign`."""
    mode = arguments.mode
    if mode in ("run", "slurm") and arguments.json is not None:
        raise UserError("--json writes a plan or a status; give it with --dry-run or --status")
    for name in ("hours", "seeds", "threads"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name} is {value}; it must be above 0")
    request = None
    if arguments.hours is not None:
        overlays = tuple(arguments.config or ["fast"])
        request = CampaignRequest(
            arguments.hours, tuple(arguments.row), arguments.seeds, overlays, arguments.threads, mode == "slurm"
        )
    elif mode != "status" and not (mode == "run" and arguments.keep):
        raise UserError("campaign needs --hours H, the hours to spend; --status and --keep alone do without")
    return command(request, mode, arguments.keep, arguments.json)


def command(request: CampaignRequest | None, mode: str, kept: bool, json_file: str | None) -> int:
    """Plans, runs, or says where things stand.

    Args:
        request: what to spend hours on; null where nothing is to be run.
        mode: `run`, `dry-run`, `slurm` or `status`.
        kept: whether complete records go to results/ and the tables are brought up to date.
        json_file: where the plan of a dry run, or the status, goes as JSON; `-` for standard output, and then nothing
            else goes there.

    Returns:
        0 when everything went as planned, the end of the hours included.

    Raises:
        UserError: if something could not be run or kept; the rest was.
    """
    if mode == "status":
        return _status(json_file)
    if request is None:
        return _refuse(_keep())
    for row in request.rows:
        chosen().row(row)
    if mode == "dry-run":
        found = reader.read_all()
        _show(request, plan(request, found), json_file)
        return _refuse(_passed_over(found))
    runner.home().mkdir(parents=True, exist_ok=True)
    if runner.is_at_work():
        raise UserError("A campaign is at work in this folder already; `campaign --status` says where it stands")
    with run_directory.hold(runner.home()):
        return _slurm(request) if mode == "slurm" else _run(request, kept)


def _run(request: CampaignRequest, kept: bool) -> int:
    """Plans and carries out, and plans again with what has been learnt, until time is up or nothing is left."""
    deadline = time.monotonic() + 3600 * request.hours
    ends = _from_now(request.hours)
    if kept and environment.software()["git_dirty"]:
        _tell("warning: the checkout has uncommitted changes; the records will say so")
    for problem in _passed_over(reader.read_all()):
        _tell(f"passed over: {problem}")
    problems: dict[str, str] = {}
    no_more: set[str] = set()
    completed: set[tuple[str, int]] = set()
    try:
        while (hours := (deadline - time.monotonic()) / 3600) > 0:
            asked = replace(request, hours=hours)
            runs = [run for run in plan(asked, reader.read_all(), no_more) if (run.row, run.seed) not in completed]
            if not runs:
                break
            folder = runner.write_plan(asked, runs, ends)
            if kept:
                _keep()  # the plan too, before its first run
            _show(asked, runs, None)
            began = False
            for run in runs:
                if time.monotonic() + (run.epoch_seconds or 0) > deadline:
                    continue
                began = True
                _tell(f"{run.name}: {'going on' if run.done else 'begun'} in {run.folder}")
                answer = runner.carry_out(run, asked, folder, deadline)
                _tell(f"{run.name}: {_outcome(run, answer)}")
                if answer == "complete":
                    completed.add((run.row, run.seed))
                    for problem in _keep() if kept else ():
                        problems[problem] = problem
                elif answer != "stopped":
                    problems[run.name] = f"{run.name}: {answer}"
                if run.until < run.epochs:
                    break  # how long it takes is known now
                if answer != "complete":
                    no_more.add(run.row)
            if not began:
                break
    except SystemExit as end:
        told = "the campaign was stopped by a signal; the same command goes on with it"
        raise EndedEarly(told, int(end.code or 0)) from None
    return _refuse(list(problems.values()))


def _passed_over(found: reader.Found) -> list[str]:
    """Lists what is wrong with rows and records, which a plan then does without."""
    return [*found.collection.problems, *found.problems]


def _from_now(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def _refuse(problems: list[str]) -> int:
    if problems:
        raise UserError("\n".join(problems))
    return 0


def _outcome(run: Run, answer: str) -> str:
    if answer == "stopped":
        return f"stopped after {saved_epochs(Path(run.folder))} of {run.epochs} epochs, to go on another time"
    return answer


def _slurm(request: CampaignRequest) -> int:
    runs = plan(request, reader.read_all())
    if not runs:
        raise UserError("Nothing is left to decide for these rows, so there is no job to write")
    folder = runner.write_plan(request, runs, _from_now(request.hours))
    _show(request, runs, None)
    tell(f"sbatch {runner.write_array_job(runs, request, folder)}")
    return 0


def _keep() -> list[str]:
    """Keeps all complete planned runs; returns a sentence on each thing that is wrong."""
    new, problems = keep.keep()
    for place in new:
        _tell(f"kept {place}")
    if new and (told := keep.bring_tables_up_to_date()):
        problems.append(told)
    return problems


def _show(request: CampaignRequest, runs: list[Run], json_file: str | None) -> None:
    if json_file != "-":
        tell(table(request, runs))
    if json_file is not None:
        described = [asdict(run) | {"hours": run.hours} for run in runs]
        write_json_output({"request": asdict(request), "runs": described}, json_file)


def table(request: CampaignRequest, runs: list[Run]) -> str:
    """Formats the plan for a terminal of 80 columns: hours of each run, when it ends, and what it is evidence for."""
    if not runs:
        return "Nothing is left to decide for these rows; --seeds N asks for more seeds."
    lines = [f"{'run':<32}{'epochs':>8}{'hours':>7}{'until':>7}  hours from"]
    total, numbers, more = 0.0, set(), ""
    for run in runs:
        total += run.hours or 0
        more = ">" if run.hours is None else more  # than what is known
        epochs = f"{run.done + 1}–{run.until}" if run.done else f"{run.until}"
        hours = "?" if run.hours is None else f"{run.hours:.2f}"
        lines.append(f"{run.name:<32}{epochs:>8}{hours:>7}{f'{more}{total:.2f}':>7}  {run.source}")
        told = _decides(run, request)
        if total > request.hours:
            told = f"only begun, to go on another time; {told}"
        elif told.startswith((_FIRST, _MORE)):
            numbers |= {(row, metric) for row, metrics in run.decides.items() for metric in metrics}
        lines.append(f"    {told}")
    rows = {row for row, _ in numbers}
    lines.append(
        f"{len(runs)} runs in {request.hours:.4g} hours: evidence for {len(numbers)} numbers of {len(rows)} rows"
    )
    return "\n".join(lines)


def _decides(run: Run, request: CampaignRequest) -> str:
    own = chosen().row(run.row)
    if (changes := request.changes(own)) and not (is_about_seconds(own) and set(changes) == {"trainer.max_epochs"}):
        return f"decides nothing: {', '.join(sorted(changes))} of the row changed"
    if run.until < run.epochs:
        return f"tells how long its {run.epochs} epochs take"
    by_metrics: dict[tuple[str, ...], list[str]] = {}
    for row, metrics in run.decides.items():
        by_metrics.setdefault(
            tuple(metric.removesuffix("_percent").replace("_", " ") for metric in metrics), []
        ).append(row)
    told = "; ".join(f"{', '.join(metrics)} of {', '.join(rows)}" for metrics, rows in by_metrics.items())
    return f"{_FIRST if run.first else _MORE}: {told}"


def _status(json_file: str | None) -> int:
    """Tells where the newest plan stands, from what its runs have recorded."""
    plans = runner.read_plans()
    if not plans:
        raise UserError(f"There is no campaign in {runner.home()}; `campaign --hours H` begins one")
    folder, content = plans[-1]
    at_work = runner.is_at_work()
    states = [_state(run) for run in runner.planned_runs(content)]
    if json_file != "-":
        doing = f"at work until {content['ends']}" if at_work else "not at work"
        tell(f"{folder}: planned {content['planned']}, {doing}")
        for state in states:
            tell(f"  {state['row']} seed {state['seed']}: {state['told']}")
    if json_file is not None:
        write_json_output({"plan": str(folder / "plan.json"), "at_work": at_work, "runs": states}, json_file)
    return 0


def _state(run: Run) -> dict[str, Any]:
    folder = Path(run.folder)
    status, points = run_directory.status(folder), curve(folder)
    done = len(points)
    if status == "complete":
        told = f"complete after {done} epochs"
    elif status is None:
        told = "planned"
    else:
        seconds = points[-1]["train_seconds"] + points[-1]["eval_seconds"] if points else run.epoch_seconds
        left = "" if seconds is None else f", {seconds * (run.until - done) / 3600:.2f} hours to go"
        told = f"{done} of {run.until} epochs{left}" + (", broken off by an error" if status == "failed" else "")
    return {"row": run.row, "seed": run.seed, "folder": run.folder, "status": status or "planned",
            "epochs": {"planned": run.until, "done": done}, "told": told}  # fmt: skip


def _tell(line: str) -> None:
    tell(f"campaign: {line}", sys.stderr)
