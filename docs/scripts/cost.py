"""How the cost of training grows with batch, width and size on this machine: tables in docs/performance.md.

python docs/scripts/cost.py; takes about three minutes, with nothing else running.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from cifar_hpc.allocator import keep_memory
from cifar_hpc.bench.medians import quartiles
from cifar_hpc.bench.peak import matrix_product_peak, training_flops
from cifar_hpc.models import ResNet18, SmallCNN
from cifar_hpc.models.airbench_network import AirbenchNetwork

TURNS, SECONDS = 7, 0.7
BATCHES = (8, 32, 128, 512)
SPEEDRUN = [
    ((64, 256, 256), 24),
    ((64, 256, 256), 28),
    ((64, 256, 256), 32),
    ((32, 128, 128), 32),
    ((128, 512, 512), 32),
]
"""Widths and pixels of the speedrun's network: the three sizes it is trained on, and half and double its widths."""


def trainer(network: nn.Module, batch_size: int, pixels: int = 32) -> Callable[[], None]:
    """One step of training in bf16 with SGD."""
    network.to(memory_format=torch.channels_last)
    images = torch.rand(batch_size, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,))
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def images_per_second(steps: dict[int, Callable[[], None]]) -> tuple[dict[int, list[float]], float]:
    """Of each kind of step, in turns, and the matrix-product peak between them; keys are batch sizes."""
    found: dict[int, list[float]] = {size: [] for size in steps}
    peaks = []
    for turn in range(TURNS + 1):  # the first warms up
        for size, step in steps.items():
            start, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - start < SECONDS:
                step()
                done += size
            if turn:
                found[size].append(done / (time.perf_counter() - start))
        peaks.append(matrix_product_peak(torch.bfloat16))
    return found, statistics.median(peaks)


def told(values: list[float]) -> str:
    """Median and quartiles."""
    low, high = quartiles(values)
    return f"{statistics.median(values):,.0f} ({low:,.0f} to {high:,.0f})"


def main() -> None:
    """Prints both tables."""
    keep_memory()
    print(f"| network | {' | '.join(f'batch {size}' for size in BATCHES)} |\n|---|{'---:|' * len(BATCHES)}")
    for make in (SmallCNN, lambda: ResNet18(stem="cifar")):
        found, _ = images_per_second({size: trainer(make(), size) for size in BATCHES})
        print(f"| {type(make()).__name__} | {' | '.join(told(found[size]) for size in BATCHES)} |", flush=True)
    print(
        "\n| widths | pixels | GFLOP for an image | images/s | GFLOP/s | of the peak |\n|---|---:|---:|---:|---:|---:|"
    )
    for widths, pixels in SPEEDRUN:
        work = training_flops(AirbenchNetwork(10, widths), pixels) / 1e9
        found, peak = images_per_second({512: trainer(AirbenchNetwork(10, widths), 512, pixels)})
        rate = work * statistics.median(found[512])
        cells = (", ".join(map(str, widths)), pixels, f"{work:.3f}", told(found[512]), f"{rate:,.0f}")
        print(f"| {' | '.join(map(str, cells))} | {100e9 * rate / peak:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
