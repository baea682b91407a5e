"""Convolutions on images so small that every window covers the whole image.

With ImageNet's stem the last stages of a ResNet see 2 × 2 and 1 × 1 pixels of a 32 × 32 picture, and VGG's last
stage 2 × 2. There a padded 3 × 3 convolution multiplies mostly zeros: on 1 × 1 eight of its nine taps never meet
a pixel and never get a gradient. As a matrix product over the taps that do, it is the same function of the same
parameters with the same gradients, for a ninth (1 × 1) or four ninths (2 × 2) of the work.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn


def use_matrix_products_on_small_images(network: nn.Module) -> None:
    """Lets every convolution of `network` that can take the short way; parameters and their names stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == 1 and layer.dilation == (1, 1):
            layer.__class__ = SmallImageConv2d


class SmallImageConv2d(nn.Conv2d):
    """A convolution that becomes a matrix product where the image allows it, on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H', W'), as any convolution."""
        windows = None
        if x.device.type == "cpu" and x.dim() == 4 and not torch._C._is_tracing():
            windows = _windows(self, x.shape[2], x.shape[3])
        if windows is None:
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        y: Tensor = _WholeImageConvolution.apply(x, self.weight, self.bias, windows)
        return y


@dataclass(frozen=True)
class _Windows:
    """Which taps of the kernel meet the image's pixels, for each output pixel.

    Attributes:
        height: output rows.
        width: output columns.
        taps: for each output pixel, in rows, the slices of the kernel's rows and columns that lie on the image.
    """

    height: int
    width: int
    taps: list[tuple[slice, slice]]


def _windows(layer: nn.Conv2d, height: int, width: int) -> _Windows | None:
    """The windows of a layer on an image; None if some window misses a pixel."""
    kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    assert not isinstance(padding, str)
    axes = []
    for axis, size in enumerate((height, width)):
        outputs = (size + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1
        firsts = [padding[axis] - stride[axis] * position for position in range(outputs)]
        if any(first < 0 or first + size > kernel[axis] for first in firsts):
            return None
        axes.append([slice(first, first + size) for first in firsts])
    return _Windows(len(axes[0]), len(axes[1]), list(product(*axes)))


class _WholeImageConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, windows: _Windows) -> Tensor:
        """One matrix product: (B, H·W·in) by (H·W·in, H'·W'·out)."""
        batch, channels, height, width = x.shape
        kernel = weight.permute(0, 2, 3, 1)  # (out, rows, columns, in)
        # Gathered in the precision of x: where that is bf16, the unused taps are never rounded at all.
        matrix = x.new_empty(len(windows.taps), len(weight), height, width, channels)
        for block, (rows, columns) in zip(matrix, windows.taps, strict=True):
            block.copy_(kernel[:, rows, columns])
        matrix = matrix.view(len(windows.taps) * len(weight), -1)
        pixels = x.permute(0, 2, 3, 1).reshape(batch, -1)
        ctx.save_for_backward(pixels, matrix, weight)
        ctx.windows, ctx.image, ctx.has_bias = windows, (height, width, channels), bias is not None
        y = pixels @ matrix.t()
        if bias is not None:
            y += bias.to(x.dtype).repeat(len(windows.taps))
        return y.view(batch, windows.height, windows.width, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        """Gradients of image, weight and bias; taps that met no pixel get zero."""
        pixels, matrix, weight = ctx.saved_tensors
        blocks = len(ctx.windows.taps)
        gradient = gradient.permute(0, 2, 3, 1).reshape(len(pixels), -1)
        of_image = None
        if ctx.needs_input_grad[0]:
            of_image = (gradient @ matrix).view(len(pixels), *ctx.image).permute(0, 3, 1, 2)
        of_matrix = (gradient.t() @ pixels).view(blocks, len(weight), *ctx.image)
        of_weight = torch.zeros_like(weight)
        taps = of_weight.permute(0, 2, 3, 1)
        for block, (rows, columns) in zip(of_matrix, ctx.windows.taps, strict=True):
            taps[:, rows, columns] += block
        of_bias = gradient.view(-1, len(weight)).sum(0).to(weight.dtype) if ctx.has_bias else None
        return of_image, of_weight, of_bias, None
