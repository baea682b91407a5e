"""The grid that `bench scaling` measures: what is asked for, what of it this machine can host."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cifar_hpc.bench.medians import check_turns
from cifar_hpc.errors import UserError, check_deepspeed

STRATEGIES = ("ddp", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true")
_PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class GridPlan:
    """What to measure.

    Attributes:
        row: id of the row, whose global batch all points share.
        threads: numbers of threads of each process.
        processes: numbers of processes that train together.
        precisions: names of precisions, as Lightning has them.
        strategies: names of strategies of several processes; one process has none.
        oversubscribe: whether points of more threads than cores are measured too.
        sample: whether to train on the sample that ships with the package.
        turns: number of turns of each point, after a first one that warms up.
        seconds: length of each turn, at least; never less than one step.
    """

    row: str
    threads: tuple[int, ...]
    processes: tuple[int, ...]
    precisions: tuple[str, ...]
    strategies: tuple[str, ...]
    oversubscribe: bool
    sample: bool
    turns: int
    seconds: float


@dataclass(frozen=True)
class GridPoint:
    """One way to run the row.

    Attributes:
        precision: Lightning's name of the precision.
        strategy: Lightning's name of the strategy; None for a single process.
        processes: number of processes, which share each global batch evenly.
        threads: number of threads of each process.
    """

    precision: str
    strategy: str | None
    processes: int
    threads: int

    def arguments(self, accelerator: str) -> list[str]:
        """Makes the arguments with which `fit` runs the row in this way."""
        return [
            f"--trainer.accelerator={accelerator}",
            f"--trainer.devices={self.processes}",
            "--trainer.num_nodes=1",
            f"--trainer.strategy={self.strategy or 'auto'}",
            f"--trainer.precision={self.precision}",
            f"--trainer.threads={self.threads}",
        ]


@dataclass(frozen=True)
class Figures:
    """What a point gave; medians of its turns.

    Attributes:
        precision: see `GridPoint`.
        strategy: see `GridPoint`.
        processes: see `GridPoint`.
        threads: see `GridPoint`.
        images_per_second: rate of all its processes together.
        images_per_second_quartiles: first and third quartile of the turns' rates.
        speed_up: over one process of one thread in the same precision: median of the ratios of neighbouring turns.
        speed_up_quartiles: first and third quartile of these ratios.
        efficiency: speed-up over the cores (or GPUs) used, as a fraction of 1.
        memory_mib: memory of all its processes together, the largest seen after a turn; see `group_memory_mib`.
        first_batch_seconds: time from the start of the program to the end of its first training step, once.
    """

    precision: str
    strategy: str | None
    processes: int
    threads: int
    images_per_second: float
    images_per_second_quartiles: list[float]
    speed_up: float
    speed_up_quartiles: list[float]
    efficiency: float
    memory_mib: float | None
    first_batch_seconds: float


def check(plan: GridPlan, json_file: str | None, plot_file: Path | None) -> None:
    """Refuses what can be refused without looking at the row, so that nothing is measured in vain.

    Raises:
        UserError: if a number, a name or a file's place is wrong.
    """
    check_turns(plan.turns, plan.seconds)
    for name, values in (("threads", plan.threads), ("processes", plan.processes)):
        if min(values) < 1:
            raise UserError(f"--{name} must be at least 1, not {min(values)}")
    for strategy in plan.strategies:
        if strategy not in STRATEGIES:
            raise UserError(f"--strategy {strategy} is not known; it may be {', '.join(STRATEGIES)}")
        if strategy != "ddp":
            check_deepspeed(f"--strategy {strategy}")
    for precision in plan.precisions:
        if precision not in PRECISIONS:
            raise UserError(f"--precision {precision} is not known; it may be {', '.join(PRECISIONS)}")
    if "16-mixed" in plan.precisions and not torch.cuda.is_available():
        raise UserError("--precision 16-mixed needs a GPU: on a CPU Lightning takes bf16 for it; ask for bf16-mixed")
    if plot_file is not None and plot_file.suffix not in _PICTURES:
        raise UserError(f"--plot {plot_file} must end in {', '.join(_PICTURES)}")
    for name, file in (("json", json_file), ("plot", plot_file)):
        if file not in (None, "-") and not Path(str(file)).parent.is_dir():
            raise UserError(f"--{name} {file} cannot be written: there is no folder {Path(str(file)).parent}")


def grid(plan: GridPlan) -> list[GridPoint]:
    """Lists every combination once, and one process of one thread first in each precision."""
    points = []
    for precision in plan.precisions:
        points.append(GridPoint(precision, None, 1, 1))
        for processes in plan.processes:
            strategies: tuple[str | None, ...] = plan.strategies if processes > 1 else (None,)
            points += [GridPoint(precision, s, processes, threads) for s in strategies for threads in plan.threads]
    return list(dict.fromkeys(points))


def choose(
    points: list[GridPoint], cores: int, gpus: int, oversubscribe: bool
) -> tuple[list[GridPoint], list[dict[str, Any]]]:
    """Chooses the points that this machine can host, and gives the reason why it cannot host the others.

    Args:
        points: the points of the grid.
        cores: number of cores that can be used.
        gpus: number of GPUs that can be used; if there are any, each process takes one.
        oversubscribe: whether threads may share cores.
    """
    chosen, left_out = [], []
    for point in points:
        needed = point.processes * point.threads
        if point.processes > (gpus or cores):
            reason = f"{point.processes} processes, but {gpus or cores} {'GPUs' if gpus else 'cores'}"
        elif needed > cores and not oversubscribe:
            reason = f"{needed} threads, but {cores} cores (--oversubscribe measures it)"
        else:
            chosen.append(point)
            continue
        left_out.append({**asdict(point), "reason": reason})
    return chosen, left_out
