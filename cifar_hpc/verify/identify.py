"""The command `identify`: which variant of a row's unknown settings printed its log.

`reproductions/variants/ROW.yaml` lists candidates. Each printed value of the log is taken for a draw of Student's law
about the mean of a candidate's runs at its epoch, with the spread between seeds that `verdicts` pools. A candidate's
score is the mean log-density over the values that are compared: the mean, not the sum, because a log's values are
correlated, and a longer log makes nobody surer. With equal odds before, scores give how likely each candidate is to
have printed the log. Compared are as many values as at least two candidates hold, and the candidates that hold all of
those; with `--epochs`, those too of which only so many epochs were trained.

A candidate is ruled out when twice the mean of the values' p-values is below 5 %: that is a p-value however the
values hang together (V. Vovk, R. Wang, "Combining p-values via averaging", Biometrika 107, 2020). When all are, it is
none of these.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cifar_hpc.collection.folder import chosen, configuration_file
from cifar_hpc.collection.metrics import CURVE, RECORDED, WORDS
from cifar_hpc.collection.reproduction import CurvePoint, Row
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.records.record import Record
from cifar_hpc.verify import reader
from cifar_hpc.verify.judge import at_epoch, by_seed, like_networks, spread_of
from cifar_hpc.verify.reader import Found
from cifar_hpc.verify.variants_file import Candidate, read_variants
from cifar_hpc.verify.verdicts import CONFIDENCE, Spread

Values = dict[tuple[str, int], list[float]]
"""One value for each seed, in the log's unit, by printed quantity and epoch."""

Fits = dict[str, dict[tuple[str, int], tuple[float, float]]]
"""By candidate, printed quantity and epoch: the log-density of the printed value, and its p-value."""


@dataclass(frozen=True)
class Ranked:
    """A candidate with what speaks for it.

    Attributes:
        name: of the candidate.
        seeds: number of its runs' seeds.
        epochs: the last epoch of the log that its runs hold, 0 for none.
        likely: how likely it is to have printed the log, a fraction of 1; null where it is not compared.
        p_value: how often its own runs would lie as far from the log; null where that cannot be said.
        off: root mean square of measured minus printed over the epochs that its runs hold, by printed quantity.
        spread: standard deviation between seeds at the last of these epochs, by printed quantity.
        command: what trains it.
    """

    name: str
    seeds: int
    epochs: int
    likely: float | None
    p_value: float | None
    off: dict[str, float]
    spread: dict[str, float | None]
    command: str

    @property
    def ruled_out(self) -> bool:
        """Whether it can hardly have printed the log."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `identify`."""
    parser.add_argument("row", metavar="ROW", help="id of a row whose report prints a log")
    parser.add_argument("--epochs", type=_count, metavar="N", help="of the log that count (default: all)")
    parser.add_argument("--train", action="store_true", help="train what no record holds, for so many epochs")
    parser.add_argument("--seeds", type=_count, default=2, metavar="N", help="of each variant (default: %(default)s)")
    parser.add_argument(
        "-c", dest="overlays", metavar="FILE", action="append", default=[], help="an overlay to train with"
    )
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `identify`."""
    return command(
        arguments.row, arguments.epochs, arguments.train, arguments.seeds, arguments.overlays, arguments.json
    )


def _count(text: str) -> int:
    """Reads a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def command(
    name: str, epochs: int | None, train: bool, seeds: int, overlays: Sequence[str], json_file: str | None
) -> int:
    """Ranks the candidates of a row; trains them first, as far as records do not hold them, if that is asked for.

    Args:
        name: the row's id.
        epochs: of the log that are compared and trained at most; null for all.
        train: whether to train.
        seeds: that each candidate gets where they are trained.
        overlays: configuration files that say where and how fast to train.
        json_file: where JSON goes; `-` for standard output, and then nothing else goes there.

    Returns:
        0 when one candidate is likelier than all others together and not ruled out, 1 when it is none of them, else 3.
    """
    collection = chosen()
    row = collection.row(name)
    log = [point for point in row.reproduction.reported.curve if epochs is None or point.epoch <= epochs]
    if not log:
        which = "log" if epochs is None else f"value of the first {epochs} epochs"
        raise UserError(f"{name} prints no {which} that variants could be compared with")
    candidates, missing = read_variants(collection, row)
    found = reader.read_all()
    if train:
        for candidate in candidates:
            _train(row, candidate, found, seeds, max(point.epoch for point in log), overlays)
        found = reader.read_all()
    ranked, compared = rank(row, candidates, log, found)
    status = _status(ranked)
    if json_file != "-":
        tell(table(row, ranked, compared, missing))
    if json_file is not None:
        content = [asdict(one) | {"ruled_out": one.ruled_out} for one in ranked]
        write_json_output({"row": name, "epochs": compared, "exit_status": status, "candidates": content}, json_file)
    if found.problems:
        raise UserError("; ".join(found.problems))
    return status


def rank(
    row: Row, candidates: Sequence[Candidate], log: Sequence[CurvePoint], found: Found
) -> tuple[list[Ranked], list[int]]:
    """Ranks the candidates, likeliest first; tells the epochs that were compared."""
    values = {candidate.name: _values(row, candidate, log, found) for candidate in candidates}
    own = {relative.reproduction.name for relative in found.collection.relatives(row)}
    like = like_networks([record for record in found.records if record.name not in own], [], {row.dataset})
    fits: Fits = {}
    ranked = []
    for candidate in candidates:
        held = values[candidate.name]
        spreads: dict[str, float | None] = {}
        off: dict[str, list[float]] = {}
        fit = {}
        for (quantity, epoch), measured in held.items():
            others = [spread_of(other.get((quantity, epoch), [])) for n, other in values.items() if n != candidate.name]
            others += [_spread_at(runs, quantity, epoch) for runs in like.values()]
            spread = Spread.of(measured, [other for other in others if other])
            spreads[quantity] = spread.deviation
            printed = next(getattr(point, quantity) for point in log if point.epoch == epoch)
            away = math.fsum(measured) / len(measured) - printed
            off.setdefault(quantity, []).append(away)
            if spread.deviation:
                scale = spread.deviation * math.sqrt(1 + 1 / len(measured))
                fit[quantity, epoch] = _fit(away, scale, spread.freedom)
        if fit:
            fits[candidate.name] = fit
        ranked.append(
            Ranked(
                candidate.name,
                max((len(measured) for measured in held.values()), default=0),
                max((epoch for _, epoch in held), default=0),
                None,
                None,
                {name: math.sqrt(math.fsum(a * a for a in away) / len(away)) for name, away in off.items()},
                spreads,
                found.collection.command("fit", "-c", row.reproduction.name, *candidate.flags),
            )
        )
    compared = _compared(fits)
    likely = _likely(fits, compared)
    ranked = [
        replace(one, likely=likely.get(one.name), p_value=_merged([p for _, p in fits[one.name].values()]))
        if one.name in fits
        else one
        for one in ranked
    ]
    ranked.sort(key=lambda one: (-(one.likely or 0), not one.off, sum(one.off.values())))
    return ranked, sorted({epoch for _, epoch in compared})


def _compared(fits: Fits) -> set[tuple[str, int]]:
    """Picks the values to compare by: as many as at least two candidates hold, or all that the only one holds."""
    held = [set(fit) for fit in fits.values()]
    if len(held) == 1:
        return held[0]
    return max((keys for keys in held if sum(keys <= other for other in held) > 1), key=len, default=set())


def _likely(fits: Fits, compared: set[tuple[str, int]]) -> dict[str, float]:
    """Computes how likely each candidate is of those that hold all that is compared; empty for fewer than two."""
    able = {name: fit for name, fit in fits.items() if compared and compared <= set(fit)}
    if len(able) < 2:
        return {}
    scores = {name: math.fsum(fit[key][0] for key in compared) / len(compared) for name, fit in able.items()}
    best = max(scores.values())
    total = math.fsum(math.exp(score - best) for score in scores.values())
    return {name: math.exp(score - best) / total for name, score in scores.items()}


def _merged(p_values: Sequence[float]) -> float:
    """Merges p-values that hang together in any way (Vovk and Wang)."""
    return min(1.0, 2 * math.fsum(p_values) / len(p_values))


def _fit(away: float, scale: float, freedom: int) -> tuple[float, float]:
    """Computes log-density and p-value of a distance by Student's law."""
    from scipy.special import stdtr

    half = (freedom + 1) / 2
    constant = math.lgamma(half) - math.lgamma(freedom / 2) - math.log(scale) - math.log(freedom * math.pi) / 2
    score = constant - half * math.log1p((away / scale) ** 2 / freedom)
    return score, 2 * float(stdtr(freedom, -abs(away) / scale))


def _values(row: Row, candidate: Candidate, log: Sequence[CurvePoint], found: Found) -> Values:
    """Collects what the candidate's runs measured where the log prints something."""
    records = runs_of(row, candidate, found)
    others = [_read_curve(Path(file)) for file in candidate.curves]
    held: Values = {}
    for point in log:
        for quantity in CURVE:
            if getattr(point, quantity) is None:
                continue
            key, factor = RECORDED[quantity], 100 if quantity.endswith("_percent") else 1
            got = by_seed(records, partial(at_epoch, epoch=point.epoch, key=key))
            got += [float(v) for curve in others if (v := curve.get(point.epoch, {}).get(key)) is not None]
            if got:
                held[quantity, point.epoch] = [factor * value for value in got]
    return held


def runs_of(row: Row, candidate: Candidate, found: Found) -> list[Record]:
    """Picks the records that trained a candidate on the whole dataset, be it for some epochs only."""
    names = {relative.reproduction.name for relative in found.collection.relatives(row)}
    return [
        record
        for record in found.records
        if record.name in names
        and record.tier != "smoke"
        and {key: values[1] for key, values in record.changed.items()} == candidate.changes
    ]


def _read_curve(file: Path) -> dict[int, dict[str, Any]]:
    try:
        return {int(point["epoch"]): point for point in json.loads(file.read_text(encoding="utf-8"))["curve"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} holds no curve: it must be JSON with a list `curve` of epochs") from error


def _spread_at(runs: Sequence[Record], quantity: str, epoch: int) -> float | None:
    """Computes the standard deviation between the seeds of a like network, in the log's unit."""
    spread = spread_of(by_seed(runs, partial(at_epoch, epoch=epoch, key=RECORDED[quantity])))
    return spread and spread * (100 if quantity.endswith("_percent") else 1)


def _train(row: Row, candidate: Candidate, found: Found, seeds: int, epochs: int, overlays: Sequence[str]) -> None:
    """Trains the seeds of a candidate that no record holds for so many epochs."""
    held = {record.seed for record in runs_of(row, candidate, found) if record.epochs_done >= epochs}
    held |= {int(json.loads(Path(file).read_text(encoding="utf-8")).get("seed", 0)) for file in candidate.curves}
    slug = re.sub(r"\W+", "-", candidate.name).strip("-")
    for seed in range(1, seeds + 1):
        if seed in held:
            continue
        run_dir = found.collection.runs / row.reproduction.name / f"{slug}-{epochs}epochs" / f"seed{seed}"
        files = [part for file in (row.path, *map(configuration_file, overlays)) for part in ("-c", str(file))]
        arguments = [*files, *candidate.flags, f"--trainer.max_epochs={epochs}", f"--seed_everything={seed}"]
        done = subprocess.run(
            [sys.executable, "-m", "cifar_hpc", "fit", *arguments, f"--run_dir={run_dir}", "--resume"], check=False
        )
        if done.returncode:
            raise UserError(f"{candidate.name} could not be trained with seed {seed}: `fit` says why above")


def _status(ranked: Sequence[Ranked]) -> int:
    if all(one.ruled_out for one in ranked):
        return 1
    best = ranked[0]
    return 0 if (best.likely or 0) > 0.5 and not best.ruled_out else 3


def table(row: Row, ranked: Sequence[Ranked], compared: Sequence[int], missing: Sequence[str]) -> str:
    """Formats the ranking in 80 columns, with a line on what follows."""
    of = len(row.reproduction.reported.curve)
    epochs = f"{len(compared)} of the {of} epochs of its log" if compared else "nothing yet"
    lines = [f"{row.reproduction.name}: which variant printed it, by {epochs}"]
    lines.append(f"  {'candidate':<40} {'seeds':>5} {'epochs':>6} {'likely':>7} {'p-value':>8}")
    for one in ranked:
        likely = "–" if one.likely is None else f"{100 * one.likely:.1f} %"
        p_value = "–" if one.p_value is None else f"{one.p_value:.3f}"
        lines.append(f"  {one.name:<40} {one.seeds or 'none':>5} {one.epochs or '–':>6} {likely:>7} {p_value:>8}")
        for quantity, off in one.off.items():
            spread = one.spread[quantity]
            points = ", points" * quantity.endswith("_percent")
            scatter = "the spread between seeds is not known" if spread is None else f"seeds scatter by {spread:.2g}"
            lines.append(f"      {WORDS[quantity]}{points}: {off:.2g} off, {scatter}")
    lines.append(f"  {_conclusion(ranked)}")
    if untrained := [one for one in ranked if not one.seeds]:
        told = f"not trained yet: {'; '.join(one.name for one in untrained)}. With --train they are, or by hand, as"
        lines += [f"  {told}", f"    {untrained[0].command}"]
    lines += [f"  not here: {file}" for file in missing]
    return "\n".join(lines)


def _conclusion(ranked: Sequence[Ranked]) -> str:
    """Says in a sentence what the ranking shows."""
    if all(one.ruled_out for one in ranked):
        return "none of these: the log lies where hardly a run of any candidate would"
    judged = [one for one in ranked if one.p_value is not None]
    compared = [one for one in judged if one.likely is not None]
    if not judged:
        return "undecided: no candidate has runs whose spread between seeds is known"
    if sum(one.seeds > 0 for one in ranked) == 1:
        return f"undecided: only {judged[0].name} was trained"
    if not compared:
        return "undecided: no two candidates hold the same epochs"
    best = compared[0]
    if best.ruled_out:
        return f"undecided: the log lies where hardly a run of {best.name}, the likeliest, would"
    told = f"{best.name} is the likeliest of {len(compared)} that were trained for as long"
    if shorter := [one.epochs for one in judged if one.likely is None]:
        told += f"; --epochs {min(shorter)} compares the others too"
    return told if (best.likely or 0) > 0.5 else f"undecided: {told}"
