"""Trains the first epochs of a record again, from its seed and settings, and holds them against its curve.

`--recompute` shows that a record's numbers follow from its predictions; predictions can be forged with it. A replay
costs a few epochs of the run and shows that the run gives these numbers. On the same processor with the same versions
it must give them to the last bit. Elsewhere sums are rounded in another order, on a GPU in another one each time, and
training amplifies that: how far, the committed replays on other processors show.
"""

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.metrics import CURVE, RECORDED
from cifar_hpc.errors import UserError
from cifar_hpc.hpc.child import curve, fit_process, watch
from cifar_hpc.output import counted, tell, write_json_output
from cifar_hpc.records.record import Record, as_json
from cifar_hpc.verify.verdicts import student_quantile

REPLAYED = tuple(RECORDED[name] for name in CURVE)
"""What is compared, epoch by epoch; the accuracies are fractions of 1."""

SURE = 0.99
"""That an honest record passes, over all that is compared."""

_HARDWARE = ("cpu", "gpu", "tf32", "instructions", "accelerator", "threads", "world_size", "strategy", "precision")
_SOFTWARE = ("torch", "torchvision", "lightning", "numpy", "git_commit", "git_dirty")
"""What decides in which order sums are rounded."""

_ANSWERS = {"equal": 0, "within": 0, "beyond": 1, "different": 1, "unknown": 3}
"""Exit status by answer."""


@dataclass(frozen=True)
class Difference:
    """One value of one epoch.

    Attributes:
        epoch: counted from 1.
        metric: one of `REPLAYED`.
        recorded: in the record; a loss is null where the run diverged.
        replayed: now.
    """

    epoch: int
    metric: str
    recorded: float | None
    replayed: float | None

    @property
    def size(self) -> float:
        """Of an accuracy in percentage points; of a loss relative to the recorded one, in percent."""
        if self.recorded is None or self.replayed is None:
            return 0.0 if self.recorded == self.replayed else math.inf
        off = abs(self.replayed - self.recorded)
        return 100 * (off if "accuracy" in self.metric else off / max(abs(self.recorded), 1e-12))


@dataclass(frozen=True)
class Replay:
    """A record's first epochs, trained again.

    Attributes:
        record: the file.
        row: id of the row, or name of the recipe.
        seed: of both.
        recorded_on: what decides rounding, of the record.
        replayed_on: the same, of the replay.
        differences: epoch by epoch.
    """

    record: str
    row: str
    seed: int
    recorded_on: dict[str, Any]
    replayed_on: dict[str, Any]
    differences: tuple[Difference, ...]

    @property
    def elsewhere(self) -> list[str]:
        """What of processor and versions differs."""
        return [key for key, value in self.recorded_on.items() if self.replayed_on.get(key) != value]

    @property
    def on_other_processor(self) -> bool:
        """Whether it shows what another processor does."""
        return any(key in self.elsewhere for key in ("cpu", "gpu", "instructions", "accelerator"))

    @property
    def must_be_equal(self) -> bool:
        """Whether an honest record is equal to the last bit: its processor and versions, and no GPU."""
        return not self.elsewhere and self.recorded_on.get("accelerator") != "cuda"

    @property
    def epochs(self) -> int:
        """Epochs that were trained again."""
        return max((difference.epoch for difference in self.differences), default=0)

    @property
    def is_equal(self) -> bool:
        """Whether every value is the same to the last bit."""
        return all(difference.recorded == difference.replayed for difference in self.differences)


def command(records: Iterable[Record], problems: list[str], epochs: int, json_file: str | None) -> int:
    """Replays records.

    Args:
        records: sound ones.
        problems: what was wrong with the request already.
        epochs: to train again of each.
        json_file: where JSON goes; `-` for standard output, and then nothing else goes there.

    Returns:
        0 when all agree; 1 when one does not; 3 when nothing shows how far one may differ; 2 by an error when a record
        is bad or cannot be trained here, the others being replayed still.
    """
    known = committed()
    answers: list[dict[str, Any]] = []
    for record in records:
        try:
            replay = train_again(record, epochs)
        except UserError as error:
            problems.append(str(error))
            continue
        answer, limits = judge_replay(replay, known)
        answers.append(asdict(replay) | {"answer": answer, "limits": limits})
        if json_file != "-":
            tell(told(replay, answer, limits))
    if json_file is not None:
        write_json_output({"problems": problems, "replays": answers}, json_file)
    if problems:
        raise UserError("\n".join(problems))
    statuses = {_ANSWERS[answer["answer"]] for answer in answers}
    return 1 if 1 in statuses else max(statuses, default=0)


def train_again(record: Record, epochs: int) -> Replay:
    """Trains the first epochs of a record again, on as many threads as it had; on the CPU where its GPU is missing.

    Raises:
        UserError: if its config.yaml is bad, or what it needs is not here.
    """
    file = record.path
    config = file.with_name("config.yaml")
    if not config.is_file():
        raise UserError(f"{config} is missing; a replay takes the run's settings from it")
    points = [as_json(point) for point in record.curve[:epochs]]
    if not points:
        raise UserError(f"{file} has no curve to hold a replay against")
    with tempfile.TemporaryDirectory(prefix="cifar_hpc-") as folder:
        run_dir, log = Path(folder) / "run", Path(folder) / "log"
        arguments = ["-c", str(config), *_device(record)]
        arguments += ["--trainer.enable_progress_bar=false", "--run_dir", str(run_dir)]
        with fit_process(arguments, log) as process:
            watch(process, run_dir, lambda done: done >= len(points), every=0.1)
        again = curve(run_dir)[: len(points)]
        if len(again) < len(points):
            lines = log.read_text().strip().splitlines() or ["it printed nothing"]
            raise UserError(f"{file} cannot be replayed here: {lines[-1].removeprefix('cifar_hpc: ')}")
        content = json.loads((run_dir / "result.json").read_text())
    return Replay(
        record=file.as_posix(),
        row=record.name,
        seed=record.seed,
        recorded_on=_rounding(as_json(record)),
        replayed_on=_rounding(content),
        differences=tuple(_differences(points, again)),
    )


def _device(record: Record) -> list[str]:
    """Writes the flags for the device: the record's, else this machine's processor in place of its one GPU."""
    used = record.hardware
    threads = ["--trainer.threads", str(used.threads)]
    if used.accelerator == "cpu":  # where the row leaves the choice to Lightning, a machine with a GPU would take that
        return [*threads, "--trainer.accelerator", "cpu"]
    if used.accelerator == "cuda" and used.world_size == 1:
        import torch

        if not torch.cuda.is_available():
            return ["-c", "cpu", "--trainer.precision", used.precision]
    return threads


def _rounding(content: Mapping[str, Any]) -> dict[str, Any]:
    hardware, software = content["hardware"], content["software"]
    found = {key: hardware[key] for key in _HARDWARE if key in hardware}
    return {**found, **{key: software[key] for key in _SOFTWARE if key in software}, **content.get("engine", {})}


def _differences(points: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]) -> Iterable[Difference]:
    for point, other in zip(points, again, strict=True):
        for metric in REPLAYED:
            yield Difference(point["epoch"], metric, point.get(metric), other.get(metric))


def committed() -> list[Replay]:
    """Reads the replays under results/replays/."""
    folders = chosen().record_folders(committed_only=True)
    found = []
    for file in (file for folder in folders for file in sorted((folder / "replays").glob("*.json"))):
        try:
            for content in json.loads(file.read_text(encoding="utf-8"))["replays"]:
                names = {key: content[key] for key in ("record", "row", "seed", "recorded_on", "replayed_on")}
                found.append(Replay(**names, differences=tuple(Difference(**d) for d in content["differences"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is no file of `verify --replay --json`: {error!r}") from error
    return found


def limits(replay: Replay, known: Iterable[Replay]) -> dict[str, float]:
    """Computes how far off each metric of an honest record may be on another processor; empty where nothing shows it.

    An interval for one more difference of those that were seen: Student's t with as many degrees of freedom as there
    are differences, which honest ones centre on zero, shared among all that is compared. What is judged is no evidence.

    Args:
        replay: to be judged.
        known: replays of other records, on other processors than theirs.
    """
    others = [k for k in known if (k.row, k.seed) != (replay.row, replay.seed) and k.on_other_processor]
    compared = len(replay.differences)
    found = {}
    for metric in REPLAYED:
        sizes = [d.size for other in others for d in other.differences if d.metric == metric]
        if sizes and all(map(math.isfinite, sizes)):
            spread = math.sqrt(math.fsum(size**2 for size in sizes) / len(sizes))
            found[metric] = student_quantile(len(sizes), (1 - SURE) / compared) * spread
    return found


def judge_replay(replay: Replay, known: Iterable[Replay]) -> tuple[str, dict[str, float]]:
    """Judges whether the record is what its seed and settings give.

    Returns:
        `equal` to the last bit; `different`, on the same processor with the same versions, where it must be equal;
        `within` or `beyond` what rounding on another processor does; or `unknown`, where nothing shows that. And the
        limits that were used.
    """
    if replay.is_equal:
        return "equal", {}
    if replay.must_be_equal:
        return "different", {}
    allowed = limits(replay, known)
    if not allowed:
        return "unknown", {}
    within = all(d.size <= allowed.get(d.metric, math.inf) for d in replay.differences)
    return "within" if within else "beyond", allowed


_TOLD = {
    "equal": "equal to the last bit: the record is what its seed and settings give",
    "different": "DIFFERENT on the same processor with the same versions, where it must be equal to the last bit",
    "within": "within what rounding on another processor does",
    "beyond": "BEYOND what rounding on another processor does: the curve is not what seed and settings give",
    "unknown": "not equal; no committed replay on another processor shows how far that may be",
}


def told(replay: Replay, answer: str, allowed: Mapping[str, float]) -> str:
    """Formats the replay for a terminal of 80 columns."""
    lines = [f"{replay.record} (seed {replay.seed}, {counted(replay.epochs, 'epoch')} trained again):"]
    lines.append(f"  {'epoch':>5} {'':<15}{'recorded':>10}{'replayed':>10}{'off by':>10}{'allowed':>10}")
    for d in replay.differences:
        accuracy = "accuracy" in d.metric
        scale, unit = (100, "pt") if accuracy else (1, "%")
        values = "".join(f"{'–':>10}" if v is None else f"{scale * v:>10.4f}" for v in (d.recorded, d.replayed))
        limit = f"{allowed[d.metric]:.3f} {unit}" if d.metric in allowed else ""
        lines.append(f"  {d.epoch:>5} {d.metric.replace('_', ' '):<15}{values}{f'{d.size:.3f} {unit}':>10}{limit:>10}")
    if replay.elsewhere:
        lines.append(f"  not as when it was recorded: {', '.join(replay.elsewhere)}")
    elif not (replay.must_be_equal or replay.is_equal):
        lines.append("  a GPU adds up in no fixed order, so that no two runs on it need be equal")
    return "\n".join([*lines, f"  {_TOLD[answer]}", ""])
