"""How the cost of training grows with batch, width and size on this machine: tables in docs/performance_log.md.

python docs/scripts/cost.py; takes about three minutes, with nothing else running. `cost.py convolutions` prints the
speeds of the speedrun's convolutions in docs/speedrun.md.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from cifar_hpc.bench.medians import quartiles
from cifar_hpc.bench.peak import matrix_product_peak, training_flops
from cifar_hpc.models import ResNet18, SmallCNN
from cifar_hpc.models.airbench_network import AirbenchNetwork
from cifar_hpc.speed.allocator import keep_memory

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


CONVOLUTIONS = ((24, 64, 31), (64, 64, 15), (64, 256, 15), (256, 256, 7), (256, 256, 3))
"""Channels in and out, and pixels of a side of 32 × 32 images."""


def median_seconds(work: Callable[[], object]) -> float:
    """Of nine turns, after two that warm up."""
    times = []
    for _ in range(11):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def passes(channels: int, width: int, pixels: int) -> list[Callable[[], object]]:
    """Forward pass, gradient of the input and gradient of the weights of a 3 × 3 convolution on 512 images."""
    images, answers, weight = (
        torch.randn(shape, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
        for shape in ((512, channels, pixels, pixels), (512, width, pixels, pixels), (width, channels, 3, 3))
    )

    def backward(*wanted: bool) -> object:
        return torch.ops.aten.convolution_backward(
            answers, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
        )

    return [
        lambda: F.conv2d(images, weight, padding=1),
        lambda: backward(True, False, False),
        lambda: backward(False, True, False),
    ]


def convolutions() -> None:
    """Prints the speed of each pass of each convolution of the speedrun, in GFLOP/s."""
    print(
        "| convolution | forward | gradient of the input | of the weights | matrix product |\n|---|---:|---:|---:|---:|"
    )
    for channels, width, pixels in CONVOLUTIONS:
        work = 2e-9 * 9 * channels * width * 512 * pixels**2
        speeds = [work / median_seconds(each) for each in passes(channels, width, pixels)]
        speeds.append(matrix_product_peak(torch.bfloat16) / 1e9)
        what = f"{channels} to {width} channels, {pixels} × {pixels}"
        print(f"| {what} | {' | '.join(f'{speed:,.0f}' for speed in speeds)} |", flush=True)


def main() -> None:
    """Prints both tables, or that of the convolutions."""
    keep_memory()
    if sys.argv[1:] == ["convolutions"]:
        return convolutions()
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
