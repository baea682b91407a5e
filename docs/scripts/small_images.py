"""What matrix products in place of convolutions on small images gain: figures in docs/performance_log.md.

python docs/scripts/small_images.py [layers]
"""

import statistics
import sys
import time
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from cifar_hpc.bench.medians import quartiles
from cifar_hpc.machine import bf16_engine
from cifar_hpc.models import VGG16, ResNet18, ResNet50
from cifar_hpc.speed.allocator import keep_memory
from cifar_hpc.speed.small_images import use_matrix_products_on_small_images

TURNS, BATCH_SIZE = 15, 128


LAYERS = (
    # in, out, pixels of a side, kernel, stride; what they are in
    (256, 1024, 2, 1, 1, "ResNet-50"),
    (1024, 256, 2, 1, 1, "ResNet-50"),
    (256, 512, 8, 1, 2, "ResNet-50"),
    (512, 1024, 4, 1, 2, "ResNet-50"),
    (1024, 2048, 2, 1, 2, "ResNet-50"),
    (256, 256, 4, 3, 2, "ResNet-50"),
    (256, 512, 8, 3, 2, "ResNet-18, CIFAR's stem"),
    (512, 512, 4, 3, 1, "VGG16"),
    (128, 128, 4, 3, 1, "ResNet-18"),
    (256, 256, 8, 3, 1, "VGG16"),
)


def milliseconds(layer: nn.Conv2d, images: torch.Tensor) -> float:
    """Time of one layer's forward and backward pass in bf16."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(images)
    torch.autograd.grad(y, (images, layer.weight), torch.ones_like(y))  # nothing is added to earlier gradients
    return 1000 * (time.perf_counter() - start)


def layers() -> None:
    """Prints the table of single layers."""
    print("| layer | in | convolution | matrix product |\n|---|---|---:|---:|")
    for channels, width, pixels, kernel, stride, place in LAYERS:
        convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        convolution.to(memory_format=torch.channels_last)
        product = deepcopy(convolution)
        use_matrix_products_on_small_images(product)
        images = torch.randn(BATCH_SIZE, channels, pixels, pixels, dtype=torch.bfloat16)
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        pairs = [[milliseconds(each, images) for each in (convolution, product)] for _ in range(TURNS + 2)][2:]
        times = [statistics.median(column) for column in zip(*pairs, strict=True)]
        what = f"{channels} to {width} channels, {kernel} × {kernel}, stride {stride}, {pixels} × {pixels} pixels"
        print(f"| {what} | {place} | {times[0]:.1f} | {times[1]:.1f} |", flush=True)


def seconds(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool) -> float:
    """Time of one step without the optimiser's."""
    network.zero_grad()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(images)
    F.cross_entropy(logits.float(), labels).backward()
    return time.perf_counter() - start


def main() -> None:
    """Prints the table of layers, or the time without over the time with them for each network and precision."""
    keep_memory()
    if sys.argv[1:] == ["layers"]:
        return layers()
    images = torch.randn(BATCH_SIZE, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH_SIZE,))
    for network in (ResNet18(stem="imagenet"), ResNet50(stem="imagenet"), VGG16()):
        without = network.to(memory_format=torch.channels_last)
        short = deepcopy(without)
        use_matrix_products_on_small_images(short)
        for bf16 in (False, True) if bf16_engine(on_cpu=True) else (False,):  # emulated, a step takes minutes
            pairs = [[seconds(each, images, labels, bf16) for each in (without, short)] for _ in range(TURNS + 2)]
            ratios = [long / brief for long, brief in pairs[2:]]  # the first two warm up
            low, high = quartiles(ratios)
            told = f"{statistics.median(ratios):.2f} (quartiles {low:.2f} and {high:.2f})"
            print(f"{type(network).__name__}, {'bf16' if bf16 else 'fp32'}: {told}", flush=True)


if __name__ == "__main__":
    main()
