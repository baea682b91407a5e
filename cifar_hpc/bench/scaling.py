"""One row on a grid of processes, threads, precisions and strategies: how it scales on this machine."""

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from cifar_hpc import machine
from cifar_hpc.bench.medians import quartiles
from cifar_hpc.bench.memory import group_memory_mib
from cifar_hpc.bench.scaling_claims import answers
from cifar_hpc.bench.scaling_grid import Figures, GridPlan, GridPoint, check, choose, grid
from cifar_hpc.bench.scaling_page import as_text, plot
from cifar_hpc.bench.turns import Contestant, ContestantError, package_path
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten
from cifar_hpc.output import write_json_output
from cifar_hpc.records import environment


def command(plan: GridPlan, json_file: str | None, plot_file: Path | None) -> int:
    """Measures the grid and prints it as a table, with what it says of the reports' claims.

    Args:
        plan: what to measure.
        json_file: where JSON goes; `-` for standard output.
        plot_file: where a plot goes; its ending chooses the format.

    Raises:
        UserError: if the request is bad or something is missing; before anything is measured.
    """
    check(plan, json_file, plot_file)
    quieten()
    cores, gpus = machine.usable_cores(), torch.cuda.device_count()
    points, left_out = choose(grid(plan), cores, gpus, plan.oversubscribe)
    row = chosen().row(plan.row)
    fit = ["-c", str(row.path), *(["--data.sample=true"] if plan.sample else [])]
    commands = {point: [*fit, *point.arguments("cuda" if gpus else "cpu")] for point in points}
    cli = _check_fits(commands, plan.processes)
    print(
        f"{plan.row}: {len(points)} points of {plan.turns} turns of at least {plan.seconds:g} s, after their starts",
        file=sys.stderr,
    )
    figures = measure(commands, plan, gpus or cores)
    content = {
        "row": plan.row,
        "network": type(cli.model).__name__,
        "batch_size": cli.datamodule.batch_size,
        "sample": plan.sample,
        "cpu": machine.cpu_model(),
        "cores": cores,
        "gpu": torch.cuda.get_device_name() if gpus else None,
        "software": environment.software(),
        "turns": plan.turns,
        "seconds_per_turn": plan.seconds,
        "points": [asdict(each) for each in figures],
        "left_out": left_out,
        "claims": [asdict(answer) for answer in answers(plan.row, figures)],
    }
    if json_file is not None:
        write_json_output(content, json_file)
    if json_file != "-":
        print(as_text(content))
    if plot_file is not None:
        plot(content, plot_file)
    return 0


def _check_fits(commands: dict[GridPoint, list[str]], processes: tuple[int, ...]) -> CIFARCLI:
    """Lets `fit` refuse what it would refuse, before anything starts."""
    for arguments in commands.values():
        cli = CIFARCLI("fit", arguments)
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    for number in processes:
        cli.datamodule.check_processes(number)
    return cli


def measure(commands: dict[GridPoint, list[str]], plan: GridPlan, devices: int) -> list[Figures]:
    """Runs all points in turns.

    Args:
        commands: arguments of `fit` for each point.
        plan: says how many turns each point has, and how long they are.
        devices: cores or GPUs of this machine.

    Raises:
        UserError: if a point ends instead of training.
    """
    rates: dict[GridPoint, list[float]] = {point: [] for point in commands}
    memory: dict[GridPoint, list[float]] = {point: [] for point in commands}
    first_batch: dict[GridPoint, float] = {}
    with contextlib.ExitStack() as stack:
        running: dict[GridPoint, Contestant] = {}
        for point, arguments in commands.items():
            with _naming(point):
                start = time.perf_counter()
                module = [sys.executable, "-m", "cifar_hpc.bench.ours"]
                running[point] = stack.enter_context(Contestant([*module, *arguments], {"PYTHONPATH": package_path()}))
                running[point].take_turn(0)
                first_batch[point] = time.perf_counter() - start
                running[point].take_turn(plan.seconds)  # not counted, as first steps are slow
        for turn in range(plan.turns):
            # Forwards and backwards, so that a machine that grows slower steadily favours nobody.
            for point in list(commands)[:: 1 if turn % 2 == 0 else -1]:
                with _naming(point):
                    rates[point].append(running[point].take_turn(plan.seconds))
                if (mib := group_memory_mib(running[point].group)) is not None:
                    memory[point].append(mib)
    return [_figures(point, rates, memory[point], first_batch[point], devices) for point in commands]


@contextlib.contextmanager
def _naming(point: GridPoint) -> Iterator[None]:
    try:
        yield
    except ContestantError as error:
        raise UserError(
            f"{point.processes} processes of {point.threads} threads ({point.strategy or 'one device'}, "
            f"{point.precision}) ended: {error}"
        ) from error


def _figures(
    point: GridPoint, rates: dict[GridPoint, list[float]], memory: list[float], first_batch: float, devices: int
) -> Figures:
    reference = rates[GridPoint(point.precision, None, 1, 1)]
    speed_ups = [mine / its for mine, its in zip(rates[point], reference, strict=True)]
    speed_up = statistics.median(speed_ups)
    used = point.processes if torch.cuda.is_available() else min(point.processes * point.threads, devices)
    return Figures(
        **asdict(point),
        images_per_second=statistics.median(rates[point]),
        images_per_second_quartiles=quartiles(rates[point]),
        speed_up=speed_up,
        speed_up_quartiles=quartiles(speed_ups),
        efficiency=speed_up / used,
        memory_mib=max(memory, default=None),
        first_batch_seconds=first_batch,
    )
