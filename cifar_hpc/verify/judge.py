"""Judges the records of a row against what its report prints."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cifar_hpc.collection.metrics import METRICS, RECORDED, SECONDS
from cifar_hpc.collection.reproduction import CurvePoint, Reproduction
from cifar_hpc.records.predictions import FILE_NAME as PREDICTIONS
from cifar_hpc.records.record import Record
from cifar_hpc.verify.verdicts import Judgement, Verdict, judge_metric

_NOT_KEPT = {
    "validation_accuracy_percent": "no hold-out",
    "top5_accuracy_percent": "not in schema 1",
}
"""Why records may not have a value."""

_SELECTIONS = {
    "last": ("last epoch", "the run was not tested"),
    "best_holdout": ("best on a hold-out", "the row sets no training images aside"),
    "best_test": ("best on the test set", "the test set was looked at once only"),
}
"""Under selection in the record: what it is called, and why a record may have none."""


@dataclass(frozen=True)
class EpochChoice:
    """The test accuracy of the epoch that one rule chooses.

    Attributes:
        label: the rule.
        accuracy: percent, mean over seeds; null where the records do not have it.
        epochs: that were chosen, in the order of the records.
        reason: why there is none.
    """

    label: str
    accuracy: float | None
    epochs: tuple[int, ...]
    reason: str = ""

    @property
    def told_epochs(self) -> str:
        """The epochs in words."""
        if len(set(self.epochs)) == 1:
            return f"epoch {self.epochs[0]}"
        return f"epochs {', '.join(map(str, self.epochs))}"


@dataclass(frozen=True)
class RowVerdict:
    """The judgements on one row by records that may be compared with one another.

    Attributes:
        row: id of the row, or name of the recipe.
        tier: of the records: `full` ones decide the row.
        epoch: the epoch that is compared.
        seeds: of the records.
        changed: settings that differ from the row's, which keep the records apart from the row's own.
        judgements: by metric.
        selections: last epoch, best on a hold-out, best on the test set; only the last is judged.
        records: the files.
        margin: half-width of what counts as the same, in percentage points.
        shared_from: rows that are one experiment with this one, whose runs are among the records.
        like_networks: rows and recipes whose spread between seeds was taken together with these records' own.
        notes: what a reader should know of the records.
    """

    row: str
    tier: str
    epoch: int
    seeds: tuple[int, ...]
    changed: dict[str, list[Any]]
    judgements: dict[str, Judgement]
    selections: tuple[EpochChoice, ...]
    records: tuple[str, ...]
    margin: float
    shared_from: tuple[str, ...] = ()
    like_networks: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def decides(self) -> bool:
        """Whether these records decide the row: all its epochs, on all its images, nothing changed."""
        return self.tier == "full" and not self.changed

    @property
    def choice_of_epoch(self) -> str:
        """How much of the gap between the report and the last epoch the choice of an epoch can be."""
        judged = self.judgements.get("test_accuracy_percent")
        last, _, best = self.selections
        if last.accuracy is None or best.accuracy is None:
            return ""
        gain = max(0.0, best.accuracy - last.accuracy)
        told = f"Choosing the epoch on the test set adds {gain:.2f} points"
        if not self.decides or judged is None or judged.reported is None:
            return f"{told}."
        gap = judged.reported - last.accuracy
        if gap <= 0:
            return f"{told}; the report is {-gap:.2f} below the last epoch, so it needs no such choice."
        share = "all" if gain >= gap else f"at most {100 * gain / gap:.0f} %"
        return f"{told}; the report is {gap:.2f} above the last epoch: the choice could be {share} of that gap."


def judge_row(reproduction: Reproduction, records: Sequence[Record], others: Iterable[Record] = ()) -> list[RowVerdict]:
    """Judges each set of like records of a row: those that decide it first.

    Args:
        reproduction: the row's group.
        records: of this row.
        others: among which like networks are looked for, to learn how far seeds scatter; may hold the records too.
    """
    like = like_networks(others, records, {record.dataset.name for record in records})
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[_kind(record, reproduction)].append(record)
    order = {"full": 0, "prefix": 1, "smoke": 2}
    keys = sorted(groups, key=lambda key: (bool(groups[key][0].changed), order[key[0]], -key[1]))
    return [_judge_group(reproduction, groups[key], like) for key in keys]


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """Returns 0 for reproduced or plausible; 1 where some value is above or below; 3 where nothing was decided."""
    if any(verdict in ("above", "below") for verdict in verdicts):
        return 1
    return 0 if {"reproduced", "plausible"} & set(verdicts) else 3


def _kind(record: Record, reproduction: Reproduction) -> tuple[Any, ...]:
    point = _printed(reproduction, record.epochs_done) if record.tier == "prefix" else None
    # Runs that the row's rule ended are one kind, whatever the epoch.
    epoch = point.epoch if point else record.most_epochs
    return record.tier, epoch, repr(sorted(record.changed.items(), key=str))


def _printed(reproduction: Reproduction, epoch: int) -> CurvePoint | None:
    """Finds the last point of the printed curve that a run of so many epochs has reached."""
    reached = [point for point in reproduction.reported.curve if point.epoch <= epoch]
    return reached[-1] if reached else None


def _judge_group(reproduction: Reproduction, records: list[Record], like: dict[str, list[Record]]) -> RowVerdict:
    first = records[0]
    tier, margin = first.tier, reproduction.margin_percent
    point = _printed(reproduction, first.epochs_done) if tier == "prefix" else None
    epoch = point.epoch if point else first.epochs_done
    reported = reproduction.reported
    judgements: dict[str, Judgement] = {}
    together: dict[str, None] = {}
    for metric in METRICS:
        printed = getattr(point, metric, None) if point else getattr(reported, metric)
        if printed is None:
            continue
        value = partial(_value, epoch=epoch, metric=metric, of_curve=point is not None)
        percents = by_seed(records, value)
        if not percents:
            if why := _NOT_KEPT.get(metric):
                judgements[metric] = Judgement(printed, None, None, 0, margin, "not comparable", reason=why)
        elif tier == "smoke" or first.changed:
            mean = sum(percents) / len(percents)
            reason = "not the whole row" if tier == "smoke" else "changed from the row"
            judgements[metric] = Judgement(printed, mean, None, len(percents), margin, "not comparable", reason=reason)
        else:
            spreads = {name: spread for name, found in like.items() if (spread := spread_of(by_seed(found, value)))}
            runs = 1 if point else reported.runs or 1
            judgements[metric] = judge_metric(printed, percents, margin, list(spreads.values()), runs)
            if judgements[metric].like_networks:
                together |= dict.fromkeys(spreads)
    for metric in SECONDS:
        printed = getattr(reported, metric)
        if printed is not None and tier == "full":
            seconds = by_seed(_of_one_device(records), partial(_seconds, metric))
            mean = sum(seconds) / len(seconds)
            judgements[metric] = Judgement(
                printed, mean, None, len(seconds), margin, "not comparable", reason="other hardware"
            )
    return RowVerdict(
        row=first.name,
        tier=tier,
        epoch=epoch,
        seeds=tuple(sorted({record.seed for record in records})),
        changed=first.changed,
        judgements=judgements,
        selections=tuple(_selection(records, key, label, reason) for key, (label, reason) in _SELECTIONS.items()),
        records=tuple(str(record.path) for record in records),
        margin=margin,
        shared_from=tuple(dict.fromkeys(r.shared_from for r in records if r.shared_from is not None)),
        like_networks=tuple(together),
        notes=_notes(reproduction, records, tuple(together)),
    )


def _value(record: Record, epoch: int, metric: str, of_curve: bool) -> float | None:
    """Returns a metric in percent; null where the record does not have it."""
    key = RECORDED[metric]
    value = at_epoch(record, epoch, key) if of_curve or key == "holdout_accuracy" else record.last(key)
    if value is None:
        return None
    return 100 * (1 - value if metric == "error_percent" else value)


def _of_one_device(records: list[Record]) -> list[Record]:
    """Picks the records of the device that most of them ran on: a mean over a GPU and a processor tells of neither."""
    devices = [record.hardware.device for record in records]
    most = max(devices, key=devices.count)
    return [record for record in records if record.hardware.device == most]


def _seconds(metric: str, record: Record) -> float:
    """Returns the seconds of the whole fit, or of an epoch with its evaluation."""
    if metric == "training_seconds":
        return record.time.fit_seconds
    return (record.time.train_seconds + record.time.eval_seconds) / record.epochs.done


def _notes(reproduction: Reproduction, records: list[Record], like: tuple[str, ...]) -> tuple[str, ...]:
    """Writes what a reader should know: whose runs these are, how they were chosen, and what nobody can check."""
    shared = {record.shared_from: None for record in records if record.shared_from is not None}
    notes = [f"rests on {', '.join(shared)}, which is one experiment with it"] if shared else []
    if like:
        notes.append(f"how far seeds scatter was learnt from {', '.join(like)} too")
    identified = [name for name, setting in reproduction.settings.items() if setting.origin == "identified"]
    if identified and not records[0].changed:
        notes.append(f"{', '.join(identified)} was identified by the very numbers that are judged")
    for name, what in ((PREDICTIONS, "metrics"), ("config.yaml", "settings")):
        without = sum(not record.path.with_name(name).is_file() for record in records)
        if without:
            notes.append(f"no {name} beside {without} of {len(records)} records, whose {what} are taken as they are")
    ended = [f"{r.epochs_done} (seed {r.seed})" for r in records if r.ended_by_rule]
    if ended:
        notes.append(f"ended by the row's rule, its training accuracy being flat, after epochs {', '.join(ended)}")
    return tuple(notes)


def like_networks(others: Iterable[Record], evidence: Sequence[Record], datasets: set[str]) -> dict[str, list[Record]]:
    """Finds whole runs of other experiments on the dataset, by network: their seeds show how far seeds scatter.

    Runs of the same experiment that are no evidence are among them: those over another number of epochs, say.

    Args:
        others: among which they are looked for.
        evidence: records that are none of them.
        datasets: of which any will do.
    """
    used = {record.path.resolve() for record in evidence}
    found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in others:
        whole = record.tier == "full" and not record.changed and record.dataset.name in datasets
        if whole and record.path.resolve() not in used and record not in evidence:
            found[record.name, record.model.class_path, record.epochs_done].append(record)
    return {
        f"{same[0].name} ({epochs} epochs of {model.rpartition('.')[2]})": same
        for (_, model, epochs), same in found.items()
    }


def spread_of(values: Sequence[float]) -> float | None:
    """Computes the standard deviation between seeds; null where there are not two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def by_seed(records: Sequence[Record], value: Callable[[Record], float | None]) -> list[float]:
    """Averages the runs that share a seed, which are no independent evidence: one value for each seed."""
    seeds: dict[int, list[float]] = defaultdict(list)
    for record in records:
        found = value(record)
        if found is not None:
            seeds[record.seed].append(found)
    return [sum(values) / len(values) for _, values in sorted(seeds.items())]


def at_epoch(record: Record, epoch: int, key: str) -> float | None:
    """Looks up what the curve holds of an epoch, a fraction of 1 or a loss; null where it holds nothing."""
    point = record.at(epoch)
    return None if point is None else getattr(point, key)


def _selection(records: list[Record], key: str, label: str, reason: str) -> EpochChoice:
    """Averages the records that have this selection; few have set a hold-out aside."""
    chosen = [record for record in records if key in record.selection.chosen]
    values = by_seed(chosen, lambda record: record.selection.chosen[key].test_accuracy)
    if not values:
        return EpochChoice(label, None, (), reason)
    epochs = tuple(record.selection.chosen[key].epoch for record in chosen)
    return EpochChoice(label, 100 * sum(values) / len(values), epochs)
