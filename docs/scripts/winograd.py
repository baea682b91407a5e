"""Times Winograd's algorithm against oneDNN's convolution and the gathered product; bf16, forward and backward pass.

python docs/scripts/winograd.py
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_hpc.allocator import keep_memory
from cifar_hpc.models.small_images import _GatheredConvolution
from cifar_hpc.models.winograd import WinogradConvolution

TURNS, BATCH_SIZE = 15, 128
LAYERS = ((512, 512, 4), (256, 512, 4), (256, 256, 4), (256, 256, 8), (128, 128, 16), (64, 64, 32), (256, 256, 6))
WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "convolution": lambda x, weight: F.conv2d(x, weight, padding=1),
    "gathered": lambda x, weight: _GatheredConvolution.apply(x, weight, None, (1, 1), (1, 1)),
    "Winograd": lambda x, weight: WinogradConvolution.apply(x, weight, None),
}


def main() -> None:
    """Prints a line of milliseconds for each layer, medians, and the ways' errors."""
    keep_memory()
    for channels, width, pixels in LAYERS:
        x = torch.randn(BATCH_SIZE, channels, pixels, pixels).bfloat16()
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = (torch.randn(width, channels, 3, 3) / (9 * channels) ** 0.5).contiguous(
            memory_format=torch.channels_last
        )
        weight.requires_grad_()
        exact = F.conv2d(x.float(), weight, padding=1)
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        errors = {}
        for _ in range(TURNS + 2):
            for name, way in WAYS.items():
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16):
                    y = way(x, weight)
                torch.autograd.grad(y, (x, weight), torch.ones_like(y))
                times[name].append(1000 * (time.perf_counter() - start))
                errors[name] = ((y - exact).norm() / exact.norm()).item()
        told = (f"{name} {statistics.median(found[2:]):.1f} ms ({errors[name]:.2%})" for name, found in times.items())
        print(f"{channels} to {width} channels, {pixels} × {pixels}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
