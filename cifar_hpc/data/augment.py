"""Turns a batch of uint8 images into network input, the whole batch at once.

Crop, flip, scaling and normalisation mean what torchvision's transforms of those names mean, and give the
same pixels for the same draws (`tests/data/test_augment.py`).
"""

from typing import Literal

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
        std: per channel, likewise.
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
        self.mean = None if mean is None else torch.tensor(mean)
        self.std = None if std is None else torch.tensor(std)

    def __call__(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """Transforms one batch.

        Args:
            images: shape (B, H, W, 3), uint8.
            draws: of these images, in this order; None for no augmentation.

        Returns:
            Shape (B, 3, H, W), float32, in channels_last memory format.
        """
        if draws is not None:
            images = self._augment(images, draws)
        scaled = images.to(torch.float32).div_(255)
        if self.mean is not None and self.std is not None:
            scaled = scaled.sub_(self.mean.to(scaled.device)).div_(self.std.to(scaled.device))
        return scaled.permute(0, 3, 1, 2)

    def _augment(self, images: Tensor, draws: Draws) -> Tensor:
        """Crops and flips by one gather, whose column indices run backwards where an image is mirrored."""
        if not self.crop_padding and not self.horizontal_flip:
            return images
        batch, height, width, _ = images.shape
        device = images.device
        rows = torch.arange(height, device=device).expand(batch, height)
        columns = torch.arange(width, device=device).expand(batch, width)
        if self.horizontal_flip:
            flip = draws.flip.to(device)[:, None]
            columns = torch.where(flip, width - 1 - columns, columns)
        if self.crop_padding:
            p = self.crop_padding
            images = pad(images, p, self.padding_mode)
            rows = rows + draws.top.to(device)[:, None]
            columns = columns + draws.left.to(device)[:, None]
        image = torch.arange(batch, device=device)[:, None, None]
        return images[image, rows[:, :, None], columns[:, None, :]]


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
