"""What matrix products in place of convolutions on 1 × 1 and 2 × 2 images gain: figures in docs/performance.md.

python docs/scripts/small_images.py
"""

import statistics
import time
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from cifar_hpc.allocator import keep_memory
from cifar_hpc.bench.medians import quartiles
from cifar_hpc.models import ResNet18, ResNet50
from cifar_hpc.models.small_images import use_matrix_products_on_small_images

TURNS, BATCH_SIZE = 15, 128


def seconds(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool) -> float:
    """Time of one step without the optimiser's."""
    network.zero_grad()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(images)
    F.cross_entropy(logits.float(), labels).backward()
    return time.perf_counter() - start


def main() -> None:
    """Prints for each network and precision the time without over the time with them, median and quartiles."""
    keep_memory()
    images = torch.randn(BATCH_SIZE, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH_SIZE,))
    for network in (ResNet18(stem="imagenet"), ResNet50(stem="imagenet")):
        without = network.to(memory_format=torch.channels_last)
        short = deepcopy(without)
        use_matrix_products_on_small_images(short)
        for bf16 in (False, True):
            pairs = [[seconds(each, images, labels, bf16) for each in (without, short)] for _ in range(TURNS + 2)]
            ratios = [long / brief for long, brief in pairs[2:]]  # the first two warm up
            low, high = quartiles(ratios)
            told = f"{statistics.median(ratios):.2f} (quartiles {low:.2f} and {high:.2f})"
            print(f"{type(network).__name__}, {'bf16' if bf16 else 'fp32'}: {told}", flush=True)


if __name__ == "__main__":
    main()
