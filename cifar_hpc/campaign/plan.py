"""Plans which runs decide most printed numbers an hour, from the records alone: trains nothing, and needs no torch.

A plan looks at what a run would judge, at what it costs, and at whether `verify` is undecided, never at whether a
number was good: whatever is planned and completed is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifar_hpc.collection.defaults import resolve
from cifar_hpc.collection.experiment import differences, experiment
from cifar_hpc.collection.folder import configuration_file
from cifar_hpc.collection.metrics import METRICS
from cifar_hpc.collection.reproduction import Row, prints_no_metric, reported_values
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.machine import cpu_model, gpu_model, has_gpu
from cifar_hpc.records import run_directory
from cifar_hpc.records.record import Record
from cifar_hpc.report import durations
from cifar_hpc.verify.judge import judge_row
from cifar_hpc.verify.reader import Found
from cifar_hpc.verify.verdicts import Judgement

TIMED = 2
"""Number of epochs that tell a row's seconds: the first warms up."""

_TIMES = "seconds"
"""What a run of a row decides of which nothing is printed but seconds."""


def is_about_seconds(row: Row) -> bool:
    """Checks whether the report prints no metric of a row."""
    return prints_no_metric(reported_values(row.reproduction.reported))


@dataclass(frozen=True)
class Run:
    """A run of a plan.

    Attributes:
        row: id of the row whose file it takes.
        seed: seed of the run.
        folder: the run's directory.
        epochs: number of epochs of the whole run; a rule of the row may end it earlier.
        done: number of epochs that an earlier campaign has trained.
        until: the epoch to stop after; less than `epochs` where one epoch is to tell how long the row takes.
        epoch_seconds: time of one epoch; null where nothing tells.
        source: what the seconds rest on.
        decides: the printed numbers that the run is evidence for, by row.
        first: whether it is the first evidence on one of these rows.
    """

    row: str
    seed: int
    folder: str
    epochs: int
    done: int
    until: int
    epoch_seconds: float | None
    source: str
    decides: dict[str, list[str]]
    first: bool

    @property
    def hours(self) -> float | None:
        """Hours of training that are left; None where nothing tells."""
        return None if self.epoch_seconds is None else (self.until - self.done) * self.epoch_seconds / 3600

    @property
    def name(self) -> str:
        """Names the run by its row and seed."""
        return f"{self.row} seed {self.seed}"


@dataclass(frozen=True)
class CampaignRequest:
    """What a campaign is asked for.

    Attributes:
        hours: hours to spend.
        rows: rows that may run; all where none is named.
        seeds: number of seeds that each row is to come to; null for one, and then as many more as `verify` says.
        overlays: overlays that are laid over every row, as `-c` takes them.
        threads: number of threads of each run; null for the row's or overlay's.
        slurm: whether the runs are to be jobs of Slurm.
    """

    hours: float
    rows: tuple[str, ...] = ()
    seeds: int | None = None
    overlays: tuple[str, ...] = ()
    threads: int | None = None
    slurm: bool = False

    def config(self, row: Row) -> dict[str, Any]:
        """Lays the overlays over the row's configuration; a row that is about seconds alone trains two epochs."""
        config: dict[str, Any] = row.config
        for overlay in self.overlays:
            config = _laid_over(config, read_yaml(configuration_file(overlay)))
        if is_about_seconds(row):
            config = _laid_over(config, {"trainer": {"max_epochs": min(TIMED, config["trainer"]["max_epochs"])}})
        return config

    def accelerator(self, row: Row) -> str:
        """Finds the kind of device that a run of a row takes, as records name it: `cpu` or `cuda`, or what is asked.

        A job of Slurm has a GPU where the overlays or the row say so, whatever the node has on which it is planned.
        """
        asked = self.config(row)["trainer"].get("accelerator", "auto")
        if asked == "auto":
            return "cuda" if has_gpu() and not self.slurm else "cpu"
        return "cuda" if asked == "gpu" else str(asked)

    def changes(self, row: Row) -> dict[str, Any]:
        """Finds what the overlays change about the experiment, by key: runs with such changes judge no row."""
        changed = differences(experiment(resolve(row.config)), experiment(resolve(self.config(row))))
        return {key: values[1] for key, values in changed.items()}


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


@dataclass
class _Experiment:
    """Rows that are one experiment, and what they still want.

    Attributes:
        rows: the rows by name; the longest run comes first, as it judges the others too.
        wanted: number of seeds that are still wanted, by row and printed number.
        seeds: seeds that have been used.
        unfinished: runs that can go on.
        evidence: names of the rows that have evidence.
        passed_over: names of the rows whose run does not fit the hours.
    """

    rows: dict[str, Row]
    wanted: dict[str, dict[str, int]]
    seeds: set[int]
    unfinished: list[Record]
    evidence: set[str] = field(default_factory=set)
    passed_over: set[str] = field(default_factory=set)


def plan(request: CampaignRequest, found: Found, left_out: Iterable[str] = ()) -> list[Run]:
    """Chooses the runs to do, in order.

    First come runs that give rows their first evidence, those that decide most printed numbers an hour before others:
    a run of several rows that are one experiment counts for all of them, and two epochs for rows of which nothing is
    printed but seconds. Then come rows of which nothing tells how long they take, with one epoch to measure that; then
    more seeds, as many as `verify` says. A run that does not fit the hours is passed over; if time is left, the first
    of them is begun, and goes on in the next campaign.

    Args:
        request: what is asked for.
        found: all records.
        left_out: names of rows that could not be run.
    """
    rows = [row for row in found.collection.rows.values() if row.trains]
    chosen = set(request.rows or (row.reproduction.name for row in rows)) - set(left_out)
    seconds = epoch_seconds(rows, found, request)
    experiments = _experiments(rows, request, found)
    runs: list[Run] = []
    too_long: Run | None = None
    left = request.hours
    while options := [(run, e) for e in experiments if (run := _next_run(e, chosen, request, seconds)) is not None]:
        run, its = min(options, key=lambda option: _order(option[0], option[1]))
        if run.hours is not None and run.hours > left:
            too_long = too_long or run
            its.passed_over.add(run.row)
            continue
        runs.append(run)
        left -= run.hours or 0
        if run.until < run.epochs:
            experiments.remove(its)  # the next plan knows how long it takes
        _count(run, its)
    if too_long is not None and (too_long.epoch_seconds or 0) / 3600 < left:
        runs.append(too_long)
    return runs


def epoch_seconds(rows: Sequence[Row], found: Found, request: CampaignRequest) -> dict[str, tuple[float, str] | None]:
    """Estimates the seconds of an epoch on the kind of device that runs take here, by row, and says what they rest on.

    From the row's own records or those of a row that does the same work (docs/durations.md), else from a run of the row
    that has not ended, else from a row with the same network on images of the same size, by the number of images.
    """
    wanted = {row.reproduction.name: request.accelerator(row) for row in rows}
    known = {accelerator: durations.durations(rows, found, accelerator) for accelerator in set(wanted.values())}
    answer: dict[str, tuple[float, str] | None] = {}
    for row in rows:
        name = row.reproduction.name
        accelerator = wanted[name]
        here = known[accelerator]
        duration = here[name]
        own = [
            r.curve[-1]
            for r in found.unfinished
            if r.name == name and r.curve and r.hardware.accelerator == accelerator
        ]
        alike = [
            (other.epoch_seconds * row.train_images / near.train_images, f"like {other.row}{_elsewhere(other)}")
            for near in rows
            if (other := here[near.reproduction.name]) is not None and _network(near) == _network(row)
        ]
        if duration is not None:
            of = "its own" if duration.row == name else f"as {duration.row}"
            answer[name] = duration.epoch_seconds, of + _elsewhere(duration)
        elif own:
            answer[name] = min(point.train_seconds + point.eval_seconds for point in own), "its own"
        else:
            answer[name] = min(alike, default=None)
    return answer


def _elsewhere(duration: durations.Duration) -> str:
    """Names the device that it was measured on, if it is of another kind than this one: hours may differ by half."""
    device = duration.machine.partition(",")[0]
    return "" if device in (cpu_model(), gpu_model()) else f", on {device}"


def _network(row: Row) -> tuple[Any, ...]:
    """Picks what decides the time for an image, nearly."""
    model = row.config["model"]
    others = ("optimizer", "scheduler", "num_classes")
    return model["class_path"], {k: v for k, v in model.get("init_args", {}).items() if k not in others}


def _experiments(rows: Sequence[Row], request: CampaignRequest, found: Found) -> list[_Experiment]:
    experiments: list[_Experiment] = []
    grouped: set[str] = set()
    for row in rows:
        if row.reproduction.name in grouped:
            continue
        members = {relative.reproduction.name: relative for relative in found.collection.relatives(row)}
        grouped |= members.keys()
        longest_first = sorted(members, key=lambda name: -_epochs(request, members[name]))
        its = _Experiment({name: members[name] for name in longest_first}, {}, set(), [])
        for name, member in its.rows.items():
            changes = request.changes(member)
            its.unfinished += [r for r in found.unfinished if r.name == name and _is_ours(r, changes)]
            own = [r for r in found.of(name) if _has(r, changes)]
            its.seeds |= {r.seed for r in own} | {r.seed for r in found.of(name) if r.tier == "full" and not changes}
            # Under an overlay that changes the experiment no report is judged, and seeds are counted.
            evidence = own if changes else [r for r in found.evidence(member) if r.tier == "full" and not r.changed]
            if is_about_seconds(member):
                evidence = [r for other in members for r in found.of(other) if tells_seconds(r)]
            its.evidence |= {name} if evidence else set()
            its.wanted[name] = _wanted(member, evidence, found.records, request.seeds or (1 if changes else None))
        its.seeds |= {record.seed for record in its.unfinished}
        experiments.append(its)
    return experiments


def _wanted(row: Row, evidence: Sequence[Record], others: Sequence[Record], seeds: int | None) -> dict[str, int]:
    """Counts how many more seeds each printed number of a row wants, or its seconds."""
    printed = [metric for metric in METRICS if getattr(row.reproduction.reported, metric) is not None]
    if seeds is not None or not printed:
        return dict.fromkeys(printed or [_TIMES], max(0, (seeds or 1) - len({record.seed for record in evidence})))
    verdicts = judge_row(row.reproduction, evidence, others)
    judged = verdicts[0].judgements if verdicts else {}
    return {metric: more_seeds(judged.get(metric)) if judged else 1 for metric in printed}


def more_seeds(judgement: Judgement | None) -> int:
    """Counts the seeds that a printed number still wants: none where it is decided, or more would not decide it."""
    if judgement is None or judgement.verdict != "inconclusive":
        return 0
    return judgement.more_seeds or 0


def _next_run(
    its: _Experiment, chosen: set[str], request: CampaignRequest, seconds: Mapping[str, tuple[float, str] | None]
) -> Run | None:
    """Chooses the longest run that a row of the experiment wants; one that was begun comes before a new one."""
    chosen = chosen - its.passed_over
    name = next((name for name in its.rows if name in chosen and any(its.wanted[name].values())), None)
    if name is None:
        return None
    epochs = _epochs(request, its.rows[name])
    begun = [r for r in its.unfinished if r.name in chosen and _epochs(request, its.rows[r.name]) >= epochs]
    going_on = max(begun, key=lambda record: record.epochs_done, default=None)
    if going_on is not None:
        name, seed, folder, done = going_on.name, going_on.seed, going_on.path.parent, going_on.epochs_done
        epochs = _epochs(request, its.rows[name])
    else:
        seed = next(seed for seed in range(1, len(its.seeds) + 2) if seed not in its.seeds)
        folder, done = _new_folder(name, seed), 0
    known = seconds[name]
    decides = {
        other: [metric for metric, more in wanted.items() if more]
        for other, wanted in its.wanted.items()
        if any(wanted.values()) and _epochs(request, its.rows[other]) <= epochs
    }
    return Run(
        row=name,
        seed=seed,
        folder=folder.as_posix(),
        epochs=epochs,
        done=done,
        until=epochs if known or done else 1,
        epoch_seconds=known and known[0],
        source=known[1] if known else "its first epoch tells",
        decides=decides,
        first=not its.evidence.issuperset(decides),
    )


def _order(run: Run, its: _Experiment) -> tuple[Any, ...]:
    """Orders runs: first evidence before more seeds; then by printed numbers an hour."""
    numbers = sum(1 / its.wanted[row][metric] for row, metrics in run.decides.items() for metric in metrics)
    rate = numbers / max(run.hours, 1e-9) if run.hours is not None else 0.0
    return not run.first, -rate, run.row, run.seed


def _count(run: Run, its: _Experiment) -> None:
    """Takes a planned run for done."""
    for row, metrics in run.decides.items():
        its.evidence.add(row)
        for metric in metrics:
            its.wanted[row][metric] -= 1
    its.seeds.add(run.seed)
    its.unfinished = [record for record in its.unfinished if record.path.parent != Path(run.folder)]


def _epochs(request: CampaignRequest, row: Row) -> int:
    return int(request.config(row)["trainer"]["max_epochs"])


def tells_seconds(record: Record) -> bool:
    """Checks whether a record is of so many whole epochs of its row that they tell how long one takes."""
    return record.epochs_done >= TIMED and set(record.changed_from_row) <= {"trainer.max_epochs"}


def _has(record: Record, changes: Mapping[str, Any]) -> bool:
    """Checks whether a record's run had these changes and no others."""
    return {key: values[1] for key, values in record.changed_from_row.items()} == changes


def _is_ours(record: Record, changes: Mapping[str, Any]) -> bool:
    """Checks whether a campaign may go on with a run that has not ended: of this experiment, in its usual place."""
    return _has(record, changes) and record.path.parent.parent == run_directory.runs() / record.name


def _new_folder(name: str, seed: int) -> Path:
    """Finds the first of `runs/<name>/seed<k>`, `…-2`, `…-3` in which no run has recorded anything."""
    names = (f"seed{seed}" + (f"-{attempt}" if attempt > 1 else "") for attempt in range(1, 10_000))
    return next(f for n in names if not ((f := run_directory.runs() / name / n) / "result.json").exists())
