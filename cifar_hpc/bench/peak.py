"""The machine's speed at matrix products, and the operations that a network needs: their quotient bounds training."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_SIZE = 1024
"""Rows and columns of the matrices: 2 GFLOP, long enough to fill the cores, small enough to stay in their caches."""


def matrix_product_peak(dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Measures the best rate of a square matrix product, in FLOP/s.

    A 1 × 1 convolution is a matrix product too, by another library (oneDNN); the faster of the two counts, since
    torch's BLAS does not know every processor well.

    Args:
        dtype: type of the factors' elements.
        seconds: time for each of the two ways.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = _SIZE if device == "cpu" else 8 * _SIZE
    a = torch.randn(size, size, device=device).to(dtype)
    image = a.view(1, size, size, 1).permute(0, 2, 1, 3)  # channels_last, with a row of `a` in each pixel
    kernel = a.view(size, size, 1, 1)
    best = 0.0
    ways: list[Callable[[], Tensor]] = [lambda: a @ a, lambda: torch.conv2d(image, kernel)]
    for multiply in ways:
        multiply()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            multiply()
            if device == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def training_flops(network: nn.Module, pixels: int = 32) -> float:
    """Counts the FLOPs of training on one image by torch's own counter: convolutions and matrix products, both passes.

    Counted on the network as it is written, without computing anything: the work that a shorter way to the same
    result saves still counts as done.

    Args:
        network: on any device; it is moved to `meta`, and so is of no further use.
        pixels: height and width of the image.
    """
    batch = 2  # the least that batch norm trains on
    network = network.to("meta").train()
    images: Tensor = torch.empty(batch, 3, pixels, pixels, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    return float(counter.get_total_flops()) / batch
