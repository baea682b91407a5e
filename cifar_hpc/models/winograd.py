"""Wide 3 × 3 convolutions by Winograd's algorithm: 16 products for four pixels of an answer instead of 36.

A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308: F(2 × 2, 3 × 3).

An image is cut into tiles of 4 × 4 pixels, one for each 2 × 2 pixels of the answer. Tiles and filters are transformed
by additions alone, each of their 16 places is a matrix product over the channels, and the products are transformed
back. The additions cost as much for few channels as for many, so it pays for many. In bfloat16 it rounds two to three
times as coarsely as the convolution itself does.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_FILTERS = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""G: from three taps to four places."""

_ON_FILTERS = torch.kron(_FILTERS, _FILTERS)
"""The same on rows and columns at once: from nine taps to sixteen places."""

_MIRRORED = [4 * row + column for row in (3, 1, 2, 0) for column in (3, 1, 2, 0)]
"""For each place that of the filter turned by half: its first and last rows and columns change places."""

_TRANSFORMED_AT_ONCE = 2**23
"""Numbers in the transformed tiles of a group of images, so that they stay in the cache."""


class WinogradConvolution(torch.autograd.Function):
    """A 3 × 3 convolution with a stride and a padding of 1, of images with even sides."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H, W); filters are transformed in their own precision, then rounded to x's."""
        taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
        filters = (_ON_FILTERS @ taps).to(x.dtype).view(16, *weight.shape[:2])
        ctx.save_for_backward(x, filters)
        ctx.has_bias, ctx.dtype = bias is not None, weight.dtype
        y = _convolve(x, filters.transpose(1, 2))
        if bias is not None:
            y += bias.to(x.dtype).view(1, -1, 1, 1)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Gradients of image, weight and bias; the image's is a convolution with the filters turned by half."""
        x, filters = ctx.saved_tensors
        of_image = _convolve(gradient, filters[_MIRRORED]) if ctx.needs_input_grad[0] else None
        of_filters: Tensor | None = None
        for images, gradients in zip(_groups(x, filters), _groups(gradient, filters), strict=True):
            part = _spread(gradients).transpose(1, 2) @ _tiles(images)
            of_filters = part if of_filters is None else of_filters.add_(part)
        assert of_filters is not None
        of_taps = _ON_FILTERS.t().to(x.dtype) @ of_filters.view(16, -1)
        of_weight = of_taps.view(3, 3, *filters.shape[1:]).permute(2, 3, 0, 1)
        of_weight = of_weight.to(ctx.dtype, memory_format=torch.channels_last)
        of_bias = gradient.sum((0, 2, 3), dtype=ctx.dtype) if ctx.has_bias else None
        return of_image, of_weight, of_bias


def _convolve(x: Tensor, filters: Tensor) -> Tensor:
    """Maps images (B, in, H, W) to (B, out, H, W) by transformed filters (16, in, out)."""
    y = x.new_empty(len(x), *x.shape[2:], filters.shape[2])
    start = 0
    for images in _groups(x, filters):
        _fill(y[start : start + len(images)], _tiles(images) @ filters)
        start += len(images)
    return y.permute(0, 3, 1, 2)


def _groups(x: Tensor, filters: Tensor) -> Iterator[Tensor]:
    """Images (B, C, H, W) as (B', H, W, C), a few at a time."""
    transformed = 4 * x.shape[2] * x.shape[3] * max(filters.shape[1:])
    yield from x.permute(0, 2, 3, 1).split(max(_TRANSFORMED_AT_ONCE // transformed, 1))


def _tiles(x: Tensor) -> Tensor:
    """The transformed tiles of images (B, H, W, C): shape (16, B·H/2·W/2, C)."""
    batch, height, width, channels = x.shape
    tiles = x.new_empty(4, 4, batch, height // 2, width // 2, channels)
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    a, b, c, d = (padded[:, first : first + height - 1 : 2] for first in range(4))
    for places, rows in zip(tiles, (a - c, b + c, c - b, b - d), strict=True):
        a, b, c, d = (rows[:, :, first : first + width - 1 : 2] for first in range(4))
        torch.sub(a, c, out=places[0])
        torch.add(b, c, out=places[1])
        torch.sub(c, b, out=places[2])
        torch.sub(b, d, out=places[3])
    return tiles.view(16, -1, channels)


def _fill(y: Tensor, products: Tensor) -> None:
    """Sets answers (B, H, W, C) to products (16, B·H/2·W/2, C) transformed back."""
    batch, height, width, channels = y.shape
    a, b, c, d = products.view(4, 4, batch, height // 2, width // 2, channels)
    for row, places in enumerate((a + b + c, b - c - d)):
        torch.add(places[0] + places[1], places[2], out=y[:, row::2, 0::2])
        torch.sub(places[1] - places[2], places[3], out=y[:, row::2, 1::2])


def _spread(gradient: Tensor) -> Tensor:
    """The gradient of the products from that of the answers: shape (16, B·H/2·W/2, C) from (B, H, W, C)."""
    batch, height, width, channels = gradient.shape
    spread = gradient.new_empty(4, 4, batch, height // 2, width // 2, channels)
    first, second = gradient[:, 0::2], gradient[:, 1::2]
    for places, rows in zip(spread, (first, first + second, first - second, -second), strict=True):
        left, right = rows[:, :, 0::2], rows[:, :, 1::2]
        places[0] = left
        torch.add(left, right, out=places[1])
        torch.sub(left, right, out=places[2])
        torch.neg(right, out=places[3])
    return spread.view(16, -1, channels)
