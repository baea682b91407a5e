"""Measures what the model of docs/scaling.md starts from, on this machine.

python docs/scripts/scaling_inputs.py machine FILE.json: for two rows and two precisions the time of a step with the
row's batch and with half of it, by one process of one thread; with half of it by two such processes that do not speak
to each other, each on a core of its own; and the time that two processes take to add up the row's gradients (gloo).

python docs/scripts/scaling_inputs.py exchange FILE.json: the same sums between the steps of a bare training loop, where
the two processes first have to wait for each other.

python docs/scripts/scaling_inputs.py networks FILE.json: images per second of each network, on one core in fp32.
"""

import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import distributed

from cifar_hpc.bench.scaling_model import BYTES_PER_GRADIENT
from cifar_hpc.bench.turns import Contestant, package_path
from cifar_hpc.collection.folder import chosen
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten
from cifar_hpc.machine import cpu_model, usable_cores
from cifar_hpc.records import environment
from cifar_hpc.speed.allocator import keep_memory

ROWS, PRECISIONS = ("ghugre_sequential", "shahrin_table2_row3"), ("32-true", "bf16-mixed")
TURNS, SECONDS = 9, 2.0
SUMS, STEPS = 40, 80
NETWORKS = {
    "SmallCNN": ["ghugre_sequential"],
    "SeparableMiniXception": ["aamir_table1"],
    "PlainMiniXception": ["aamir_table2"],
    "GoogLeNet": ["luo_workload1_googlenet"],
    "ResNet18, ImageNet's stem": ["shahrin_table2_row3"],
    "ResNet18, CIFAR's stem": ["shahrin_table2_row3", "--model.init_args.stem=cifar"],
    "VGG16": ["luo_workload1_vgg"],
    "ResNet50, ImageNet's stem": ["shahrin_table2_row7"],
    "ResNet50, CIFAR's stem": ["ashraf_scaling_1gpu"],
    "AlexNet, at 224 pixels": ["shahrin_table2_row5"],
}
"""Each network by the row that trains it, and what is changed of the row where none does."""


def contestant(arguments: list[str], core: int | None = None) -> Contestant:
    """A row in one process of one thread, bound to a core or not."""
    bound = [] if core is None else ["taskset", "-c", str(core)]
    row = str(chosen().row(arguments[0]).path)
    one = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto", "--trainer.threads=1"]
    command = [*bound, sys.executable, "-m", "cifar_hpc.bench.ours", "-c", row, *one, *arguments[1:]]
    return Contestant(command, {"PYTHONPATH": package_path()})


def of_row(row: str, precision: str) -> dict[str, Any]:
    """Times of steps in turns, medians in milliseconds."""
    batch = int(chosen().row(row).config["data"]["batch_size"])
    whole = [row, f"--trainer.precision={precision}"]
    half = [*whole, f"--data.batch_size={batch // 2}"]
    first, second, *_ = sorted(os.sched_getaffinity(0))
    times: dict[str, list[float]] = {"whole": [], "half": [], "half_beside_another": []}
    with ExitStack() as stack:
        alone = stack.enter_context(contestant(whole)), stack.enter_context(contestant(half))
        pair = [stack.enter_context(contestant(half, core)) for core in (first, second)]
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def turns(seconds: float) -> list[float]:
            rates = [pool.submit(each.take_turn, seconds) for each in pair]
            slower = min(rate.result() for rate in rates)
            return [
                batch / alone[0].take_turn(seconds),
                batch / 2 / alone[1].take_turn(seconds),
                batch / 2 / slower,
            ]

        for each in (*alone, *pair):
            each.take_turn(0)
        turns(SECONDS)  # warms up
        for _ in range(TURNS):
            for name, seconds in zip(times, turns(SECONDS), strict=True):
                times[name].append(1000 * seconds)
    return {"row": row, "precision": precision, "batch_size": batch} | {
        f"{name}_ms": statistics.median(values) for name, values in times.items()
    }


def bound(rank: int, port: int) -> None:
    """Makes this one of two processes, on a core of its own."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)


def sums(rank: int, sizes: list[int], port: int, file: str) -> None:
    """One of two processes that add up gradients, and do nothing else."""
    bound(rank, port)
    found = {}
    for size in sizes:
        gradients, times = torch.randn(size), []
        for _ in range(SUMS):
            distributed.barrier()
            start = time.perf_counter()
            distributed.all_reduce(gradients)
            times.append(1000 * (time.perf_counter() - start))
        found[size] = statistics.median(times[SUMS // 4 :])
    if rank == 0:
        Path(file).write_text(json.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()


def exchanges(rank: int, port: int, file: str) -> None:
    """One of two processes that train with half a batch each; times of its computing, waiting and summing."""
    keep_memory()
    quieten()
    bound(rank, port)
    found = []
    for row, precision in product(ROWS, PRECISIONS):
        cli = CIFARCLI("fit", ["-c", str(chosen().row(row).path), "--trainer.accelerator=cpu"])
        network, half = cli.model.to(memory_format=torch.channels_last).train(), cli.datamodule.batch_size // 2
        optimizer = network.make_optimizer(network.parameters())
        images = torch.rand(half, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(10, (half,))
        times: list[list[float]] = []
        for _ in range(STEPS):
            moments = [time.perf_counter()]
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                loss = F.cross_entropy(network(images), labels)
            loss.backward()
            gradients = torch.cat([each.grad.flatten() for each in network.parameters() if each.grad is not None])
            moments.append(time.perf_counter())
            distributed.barrier()
            moments.append(time.perf_counter())
            distributed.all_reduce(gradients)
            moments.append(time.perf_counter())
            optimizer.step()
            times.append([1000 * (after - before) for before, after in pairwise(moments)])
        kept = list(zip(*times[STEPS // 4 :], strict=True))
        names = ("compute_ms", "wait_ms", "sum_ms")
        medians = {name: statistics.median(values) for name, values in zip(names, kept, strict=True)}
        found.append({"row": row, "precision": precision, **medians})
    if rank == 0:
        Path(file).write_text(json.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()


def exchange(file: Path) -> dict[str, Any]:
    """Of both rows in both precisions."""
    mp.spawn(exchanges, (29_534, str(file)), nprocs=2)
    return {"exchanges": json.loads(file.read_text())}


def machine(file: Path) -> dict[str, Any]:
    """Both rows in both precisions, and the sums of their gradients."""
    sizes = [chosen().row(row).reproduction.trainable_parameters or 0 for row in ROWS]
    mp.spawn(sums, (sizes, 29_533, str(file)), nprocs=2)
    found = json.loads(file.read_text())
    steps = [of_row(row, precision) for row in ROWS for precision in PRECISIONS]
    return {"steps": steps, "sums_ms": {row: found[str(size)] for row, size in zip(ROWS, sizes, strict=True)}}


def networks() -> list[dict[str, Any]]:
    """One after another; for the slow ones a turn is one step."""
    found = []
    for name, arguments in NETWORKS.items():
        with contestant([*arguments, "--trainer.precision=32-true"]) as each:
            each.take_turn(0)
            rates = [each.take_turn(SECONDS) for _ in range(4)][1:]
        found.append({"network": name, "row": arguments[0], "images_per_second": statistics.median(rates)})
        print(found[-1], file=sys.stderr)
    return found


def main(what: str, file: str) -> None:
    """Writes the file."""
    measurements = {"machine": machine, "exchange": exchange, "networks": lambda _: {"networks": networks()}}
    found = measurements[what](Path(file))
    about = {"cpu": cpu_model(), "cores": usable_cores(), "software": environment.software()}
    parameters = {"bytes_per_gradient": BYTES_PER_GRADIENT}
    Path(file).write_text(json.dumps(about | parameters | found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
