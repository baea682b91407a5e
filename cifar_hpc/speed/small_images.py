"""Convolutions on small images as matrix products: the same function, parameters and gradients, sooner.

**Where every window covers the whole image.** With ImageNet's stem the last stages of a ResNet see 2 × 2 and 1 × 1
pixels of a 32 × 32 picture, and VGG's last stage 2 × 2. There a padded 3 × 3 convolution multiplies mostly zeros: on
1 × 1 eight of its nine taps never meet a pixel and never get a gradient. As a matrix product over the taps that do, it
takes a ninth (1 × 1) or four ninths (2 × 2) of the work.

**1 × 1 convolutions**, which are matrix products, **and in bf16 others on few pixels**, whose windows are gathered side
by side: oneDNN's convolutions fall far behind its matrix product there, those for the weights' gradient most.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from cifar_hpc.machine import bf16_engine

_Pair = tuple[int, int]
"""A number for the rows, and one for the columns, of a kernel or image."""

_LARGEST_POINTWISE = 8
"""Pixels of an image's longer side up to which a 1 × 1 convolution in bf16 is faster as a matrix product."""

_LARGEST_STRIDED = 4
"""Pixels of the answer's longer side up to which a larger kernel in bf16 is faster so, with a stride above 1."""

_FEWEST_PAIRS = {"avx512_bf16": {4: 2**17}, "amx_bf16": {4: 2**14, 8: 2**16}}
"""With a stride of 1, by what computes bf16 and by pixels of the answer's longer side up to which it holds: pairs of an
input and an output channel from which on it is faster so. With AMX oneDNN's gradient of the weights takes longest."""


def use_matrix_products_on_small_images(network: nn.Module) -> None:
    """Lets every convolution of `network` that can take the short way; parameters and their names stay."""
    for layer in network.modules():
        if type(layer) is not nn.Conv2d or isinstance(layer.padding, str):
            continue
        if (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1), "zeros"):
            layer.__class__ = SmallImageConv2d


class SmallImageConv2d(nn.Conv2d):
    """A convolution that becomes a matrix product where that is faster, on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H', W'), as any convolution."""
        if x.device.type != "cpu" or x.dim() != 4 or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        windows = _windows(*_shape(self), *x.shape[2:])
        y: Tensor
        if windows is not None:
            y = _WholeImageConvolution.apply(x, self.weight, self.bias, windows)
        elif _pays_as_pointwise(self, x):
            y = self._pointwise(x)
        elif _pays_to_gather(self, x):
            y = _GatheredConvolution.apply(x, self.weight, self.bias, self.stride, self.padding)
        else:
            y = super().forward(x)
        return y

    def _pointwise(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        pixels = x.permute(0, 2, 3, 1)[:, ::rows, ::columns]
        return _as_images(F.linear(pixels.flatten(0, 2), self.weight.flatten(1), self.bias), *pixels.shape[:3])


def _pays_as_pointwise(layer: nn.Conv2d, x: Tensor) -> bool:
    """Checks whether a layer multiplies each pixel by a matrix, and a matrix product does so sooner."""
    if layer.kernel_size != (1, 1) or layer.padding != (0, 0):
        return False
    one_pixel = _outputs(*_shape(layer), *x.shape[2:]) == (1, 1)
    return one_pixel or (x.dtype == torch.bfloat16 and max(x.shape[2:]) <= _LARGEST_POINTWISE)


def _pays_to_gather(layer: nn.Conv2d, x: Tensor) -> bool:
    """Checks whether a matrix product of a layer's windows and its kernel is faster than oneDNN's convolution."""
    if x.dtype != torch.bfloat16 or layer.kernel_size == (1, 1):
        return False
    largest = max(_outputs(*_shape(layer), *x.shape[2:]))
    if layer.stride != (1, 1):
        return largest <= _LARGEST_STRIDED
    return layer.in_channels * layer.out_channels >= _fewest_pairs(largest)


@cache
def _fewest_pairs(largest: int) -> float:
    """Finds the pairs of channels from which on this processor is faster with matrix products."""
    limits = _FEWEST_PAIRS[bf16_engine(on_cpu=True) or "avx512_bf16"]
    return min((pairs for pixels, pairs in limits.items() if largest <= pixels), default=inf)


def _shape(layer: nn.Conv2d) -> tuple[_Pair, _Pair, _Pair]:
    """Returns the sizes of a layer's kernel, stride and padding."""
    assert not isinstance(layer.padding, str)
    return layer.kernel_size, layer.stride, layer.padding  # type: ignore[return-value]


@cache
def _outputs(kernel: _Pair, stride: _Pair, padding: _Pair, height: int, width: int) -> _Pair:
    """Computes the rows and columns of a layer's answer to an image."""
    rows, columns = (
        (size + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis, size in enumerate((height, width))
    )
    return rows, columns


def _as_images(rows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """Views rows of channels, one for each pixel (B·H·W, C), as images (B, C, H, W) in channels_last order.

    A single pixel gets the strides that torch's other operations give it: batch norm's backward pass is many times
    slower on two tensors whose strides differ, though only where nothing is strided over.
    """
    if height == width == 1:
        return rows.view(batch, -1, 1, 1)
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _new_images(like: Tensor, batch: int, channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Makes images (B, C, H, W) in `_as_images`' order, and the view of their pixels as rows (B·H·W, C) to fill them.

    Images that were themselves a view, made within a function, autograd would not let an activation change in place
    (`nn.ReLU(inplace=True)`, where no batch norm lies between).
    """
    order = torch.contiguous_format if height == width == 1 else torch.channels_last
    images = torch.empty(batch, channels, height, width, dtype=like.dtype, device=like.device, memory_format=order)
    return images, images.permute(0, 2, 3, 1).view(-1, channels)


@dataclass(frozen=True)
class _Windows:
    """Which taps of the kernel meet the image's pixels, for each output pixel.

    Attributes:
        height: number of output rows.
        width: number of output columns.
        taps: for each output pixel, in rows, the slices of the kernel's rows and columns that lie on the image.
    """

    height: int
    width: int
    taps: list[tuple[slice, slice]]


@cache
def _windows(kernel: _Pair, stride: _Pair, padding: _Pair, height: int, width: int) -> _Windows | None:
    """Computes the windows of a layer on an image; None if some window misses a pixel."""
    axes = []
    outputs = _outputs(kernel, stride, padding, height, width)
    for axis, size in enumerate((height, width)):
        firsts = [padding[axis] - stride[axis] * position for position in range(outputs[axis])]
        if any(first < 0 or first + size > kernel[axis] for first in firsts):
            return None
        axes.append([slice(first, first + size) for first in firsts])
    return _Windows(len(axes[0]), len(axes[1]), list(product(*axes)))


class _WholeImageConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, windows: _Windows) -> Tensor:
        """Takes one matrix product: (B, H·W·in) by (H·W·in, H'·W'·out)."""
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
        y, rows_of_y = _new_images(x, batch, len(weight), windows.height, windows.width)
        torch.mm(pixels, matrix.t(), out=rows_of_y.view(batch, -1))
        if bias is not None:
            y += bias.to(x.dtype).view(-1, 1, 1)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        """Computes the gradients of image, weight and bias; taps that met no pixel get zero."""
        pixels, matrix, weight = ctx.saved_tensors
        blocks = len(ctx.windows.taps)
        gradient = gradient.permute(0, 2, 3, 1).reshape(len(pixels), -1)
        of_image = None
        if ctx.needs_input_grad[0]:
            of_image = _as_images(gradient @ matrix, len(pixels), *ctx.image[:2])
        of_matrix = (gradient.t() @ pixels).view(blocks, len(weight), *ctx.image)
        of_weight = torch.zeros_like(weight)
        taps = of_weight.permute(0, 2, 3, 1)
        for block, (rows, columns) in zip(of_matrix, ctx.windows.taps, strict=True):
            taps[:, rows, columns] += block
        of_bias = gradient.view(-1, len(weight)).sum(0).to(weight.dtype) if ctx.has_bias else None
        return of_image, of_weight, of_bias, None


class _GatheredConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        """Takes one matrix product: (B·H'·W', rows·columns·in) by (rows·columns·in, out)."""
        kernel = weight.to(x.dtype)
        windows = _gather(x, weight.shape[2:], stride, padding)
        ctx.save_for_backward(windows, kernel)
        ctx.image, ctx.stride, ctx.padding = x.shape, stride, padding
        ctx.dtype, ctx.has_bias = weight.dtype, bias is not None
        matrix = kernel.permute(0, 2, 3, 1).flatten(1)
        pixels = windows.flatten(3).flatten(0, 2)
        y, rows_of_y = _new_images(x, len(x), len(weight), *windows.shape[1:3])
        if bias is None:
            torch.mm(pixels, matrix.t(), out=rows_of_y)
        else:
            torch.addmm(bias.to(x.dtype), pixels, matrix.t(), out=rows_of_y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        """Computes the gradients of image, weight and bias; for the image's, nothing beats oneDNN's convolution."""
        windows, kernel = ctx.saved_tensors
        of_image = None
        if ctx.needs_input_grad[0]:
            of_image = conv2d_input(ctx.image, kernel, gradient, ctx.stride, ctx.padding)
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, len(kernel))
        of_weight = rows.t() @ windows.flatten(3).flatten(0, 2)
        of_weight = of_weight.view(len(kernel), *windows.shape[3:]).permute(0, 3, 1, 2).to(ctx.dtype)
        of_bias = rows.sum(0, dtype=ctx.dtype) if ctx.has_bias else None
        return of_image, of_weight, of_bias, None, None


def _gather(x: Tensor, kernel: torch.Size, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Gathers the windows of padded images (B, C, H, W): shape (B, H', W', rows, columns, C), contiguous."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    windows = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return windows.permute(0, 1, 2, 4, 5, 3).contiguous()
