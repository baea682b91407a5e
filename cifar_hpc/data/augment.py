"""Turns a batch of uint8 images into network input, the whole batch at once.

Crop, flip, scaling and normalisation mean what torchvision's transforms of those names mean, and give the
same pixels for the same draws (`tests/data/test_augment.py`).
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cifar_hpc.data.order import Draws

PaddingMode = Literal["constant", "reflect"]


class BatchTransform:
    """Crop with padding, horizontal flip, scaling to [0, 1], normalisation.

    Args:
        crop_padding: pixels put around the image before a crop of the original size is taken; 0 for no crop.
        padding_mode: what these pixels are: `constant` for zeros, `reflect` for the image mirrored at its border.
        horizontal_flip: whether the draws' flips are applied.
        mean: per channel, of pixels in [0, 1]; None for no normalisation.
        std: per channel, of pixels in [0, 1]; None for no normalisation.
    """

    def __init__(
        self,
        crop_padding: int = 0,
        horizontal_flip: bool = False,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        padding_mode: PaddingMode = "constant",
    ) -> None:
        self.crop_padding = crop_padding
        self.padding_mode = padding_mode
        self.horizontal_flip = horizontal_flip
        self.mean = None if mean is None else tuple(mean)
        self.std = None if std is None else tuple(std)

    def __call__(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """Transforms one batch.

        Args:
            images: shape (B, H, W, 3), uint8.
            draws: random choices for these images, in this order; None for no augmentation.

        Returns:
            Shape (B, 3, H, W), float32, in channels_last memory format.
        """
        if draws is not None and self.crop_padding:
            padded = pad(images, self.crop_padding, self.padding_mode)
            take = crop if images.device.type == "cpu" else crop_by_gather
            images = take(padded, draws, self.crop_padding)
        if draws is not None and self.horizontal_flip:
            images = mirror(images, draws)
        return self._normalise(images).permute(0, 3, 1, 2)

    def _normalise(self, images: Tensor) -> Tensor:
        """Divides by 255, less the mean, by the deviation, in torchvision's order and therefore with its rounding."""
        batch, height, width, channels = images.shape
        # Flat, with mean and deviation repeated for every pixel: an inner loop of three channels is not vectorised.
        scaled = images.reshape(batch, -1).to(torch.float32).div_(255)
        if self.mean is not None and self.std is not None:
            mean, std = (_repeated(each, height * width, scaled.device) for each in (self.mean, self.std))
            scaled.sub_(mean).div_(std)
        return scaled.view(batch, height, width, channels)


@cache
def _repeated(values: tuple[float, ...], pixels: int, device: torch.device) -> Tensor:
    """Repeats the channels' values for each pixel."""
    return torch.tensor(values, device=device).repeat(pixels)


def pad(images: Tensor, pixels: int, mode: PaddingMode) -> Tensor:
    """Puts pixels around images (B, H, W, 3), as torchvision's transforms of the same mode do.

    Returns:
        Shape (B, H + 2 * pixels, W + 2 * pixels, 3), same type.
    """
    padded = F.pad(images, (0, 0, pixels, pixels, pixels, pixels))
    if mode == "reflect":
        for dimension in (1, 2):
            first, last = pixels, pixels + images.shape[dimension] - 1
            for distance in range(1, pixels + 1):
                padded.select(dimension, first - distance).copy_(padded.select(dimension, first + distance))
                padded.select(dimension, last + distance).copy_(padded.select(dimension, last - distance))
    return padded


def crop(padded: Tensor, draws: Draws, padding: int) -> Tensor:
    """Takes crops of the original size from padded images on the CPU, by copying whole rows.

    Args:
        padded: shape (B, H + 2 * padding, W + 2 * padding, C), uint8, on the CPU.
        draws: first row and column of each crop.
        padding: pixels on each side.

    Returns:
        Shape (B, H, W, C), a copy.
    """
    batch, channels = len(padded), padded.shape[3]
    height, width = padded.shape[1] - 2 * padding, padded.shape[2] - 2 * padding
    pixels = padded.contiguous().numpy()
    # Every run of `width` pixels as one element of NumPy's type of raw bytes, so that taking it is one memcpy.
    runs = np.ndarray(
        shape=(batch, height + 2 * padding, 2 * padding + 1),
        dtype=f"V{width * channels}",
        buffer=pixels.data,
        strides=pixels.strides[:3],
    )
    rows = draws.top.numpy()[:, None] + np.arange(height)
    chosen = runs[np.arange(batch)[:, None], rows, draws.left.numpy()[:, None]]
    return torch.from_numpy(chosen.view(np.uint8)).view(batch, height, width, channels)


def crop_by_gather(padded: Tensor, draws: Draws, padding: int) -> Tensor:
    """Takes the same crops as `crop`, on any device, pixel by pixel: quick on a GPU, which has a thread for each."""
    sizes = (len(padded), padded.shape[1] - 2 * padding, padded.shape[2] - 2 * padding)
    image, row, column = (torch.arange(size, device=padded.device) for size in sizes)
    top, left = draws.top.to(padded.device), draws.left.to(padded.device)
    return padded[image[:, None, None], (row + top[:, None])[:, :, None], (column + left[:, None])[:, None, :]]


def mirror(images: Tensor, draws: Draws) -> Tensor:
    """Flips left to right those of the images (B, H, W, C) that the draws say."""
    chosen = draws.flip.nonzero().squeeze(1).to(images.device)
    flipped = images.index_select(0, chosen).flip(2)
    source = torch.arange(len(images), device=images.device)
    source[chosen] = torch.arange(len(chosen), device=images.device) + len(images)
    # index_select copies each image whole; index_copy and indexing go byte by byte.
    return torch.cat([images, flipped]).index_select(0, source)
