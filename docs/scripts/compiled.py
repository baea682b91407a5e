"""What torch.compile gives a training step of SmallCNN under the overlay: figures in docs/performance_log.md.

python docs/scripts/compiled.py
"""

import statistics
import time
from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_hpc.bench.medians import quartiles
from cifar_hpc.models import SmallCNN
from cifar_hpc.speed.allocator import keep_memory

TURNS, STEPS, BATCH_SIZE = 40, 25, 32


def loss_of(network: SmallCNN) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss with all layers but the first in bf16, of plain layers, which the compiler sees through."""

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(network.conv1(images).bfloat16(), 2))
        with torch.autocast("cpu", torch.bfloat16):
            x = F.relu(F.max_pool2d(network.conv2(x), 2))
            x = F.relu(network.conv3(x)).permute(0, 2, 3, 1).flatten(1)
            return F.cross_entropy(network.output(F.relu(network.hidden(x))), labels)

    return loss


def main() -> None:
    """Prints how many times as fast as eager steps those of each way of compiling are, medians of turns."""
    keep_memory()
    images = torch.rand(BATCH_SIZE, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH_SIZE,))
    network = SmallCNN().to(memory_format=torch.channels_last)
    ways = {"eager": loss_of(deepcopy(network))}
    for name, options in {"defaults": {}, "cpp_wrapper": {"cpp_wrapper": True}}.items():
        ways[name] = torch.compile(loss_of(deepcopy(network)), options=options)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                way(images, labels).backward()  # type: ignore[no-untyped-call]
            rates[name].append(STEPS / (time.perf_counter() - start))
    for name, found in rates.items():
        ratios = [rate / eager for rate, eager in zip(found, rates["eager"], strict=True)][1:]  # the first compiles
        low, high = quartiles(ratios)
        print(f"{name}: {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
