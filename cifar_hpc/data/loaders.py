"""Loaders of whole batches: from memory, and through torchvision as the reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifar_hpc.data.augment import BatchTransform, PaddingMode
from cifar_hpc.data.dask_source import DaskTensor
from cifar_hpc.data.order import Draws, EpochOrder

_PREPARED_AT_ONCE = {"cpu": 128, "cuda": 8192}
"""Images that are prepared together, of one batch or several: fewer cost more to call for than to do, more leave the
processor's cache. On a GPU calling costs most, and each call that brings draws there waits for the steps before it."""


class Batch(NamedTuple):
    """Images with their labels and their place in the dataset.

    Attributes:
        images: shape (B, 3, H, W), float32.
        labels: shape (B,), int64.
        indices: shape (B,), int64, place in the dataset's training or test set.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class ImageSet:
    """A set of images to train on or to look at.

    Attributes:
        images: shape (N, H, W, 3), uint8; a tensor, or Dask's chunks of one.
        labels: shape (N,), uint8; a tensor, or Dask's chunks of one.
        indices: shape (M,), which of the N belong to the set; None for all.
    """

    images: Tensor | DaskTensor
    labels: Tensor | DaskTensor
    indices: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    def to(self, device: torch.device) -> "ImageSet":
        """Copies the set to another device."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.indices)


@dataclass(frozen=True)
class Share:
    """How the global batches of a run are shared between its processes.

    Attributes:
        batch_size: images in a global batch.
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    batch_size: int
    rank: int = 0
    world_size: int = 1

    def batches(self, images: int) -> Iterator[slice]:
        """Yields, for each global batch of an epoch, the positions that are this process's."""
        for start in range(0, images, self.batch_size):
            yield slice(start + self.rank, min(start + self.batch_size, images), self.world_size)

    def count(self, images: int) -> int:
        """Counts the global batches; the last may be smaller, and is never dropped."""
        return -(-images // self.batch_size)


class GlobalBatches:
    """The batches of each epoch, of which this process gets its share.

    Its attribute `sampler` is where Lightning looks for something to tell the epoch to.

    Args:
        order: makes the draws of each epoch.
        share: batch size and this process's part.
    """

    def __init__(self, order: EpochOrder, share: Share) -> None:
        self.sampler = order
        self.share = share

    def __len__(self) -> int:
        return self.share.count(self.sampler.images)

    @property
    def batch_size(self) -> int:
        """Images of a full batch that fall to this process, which DeepSpeed asks for."""
        return self.share.batch_size // self.share.world_size

    def __iter__(self) -> Iterator[list[int]]:
        for draws in self.draws():
            yield draws.indices.tolist()

    def draws(self) -> Iterator[Draws]:
        """Yields the draws of each batch of the epoch."""
        epoch = self.sampler.draw()
        for positions in self.share.batches(self.sampler.images):
            yield epoch.take(positions)


class BatchLoader:
    """Gathers and augments whole batches from an image set in memory, several at once where they are small.

    Args:
        images: the image set.
        batches: which of the images make each batch.
        transform: turns uint8 images into network input.
    """

    def __init__(self, images: ImageSet, batches: GlobalBatches, transform: BatchTransform) -> None:
        self.images = images
        self.batch_sampler = batches
        self.transform = transform

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        at_once = _PREPARED_AT_ONCE.get(self.images.images.device.type, _PREPARED_AT_ONCE["cpu"])
        for together in _in_groups(self.batch_sampler.draws(), at_once):
            with _one_thread():
                prepared = self._prepare(Draws.join(together))
            sizes = [len(draws.indices) for draws in together]
            yield from map(Batch, *(part.split(sizes) for part in prepared))

    def _prepare(self, draws: Draws) -> Batch:
        data, augmented = self.images, self.batch_sampler.sampler.shuffle
        indices = draws.indices if data.indices is None else data.indices[draws.indices]
        chosen = indices.to(data.images.device)
        pixels = self.transform(_take(data.images, chosen), draws if augmented else None)
        return Batch(pixels, data.labels[chosen].long(), chosen)


def _in_groups(batches: Iterator[Draws], at_once: int) -> Iterator[list[Draws]]:
    """Groups consecutive batches, as many as make up `at_once` images."""
    together: list[Draws] = []
    images = 0
    for draws in batches:
        together.append(draws)
        images += len(draws.indices)
        if images >= at_once:
            yield together
            together, images = [], 0
    if together:
        yield together


@contextmanager
def _one_thread() -> Iterator[None]:
    """Prepares batches on one thread: each operation is so short that two spend most of it waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _take(images: Tensor | DaskTensor, indices: Tensor) -> Tensor:
    """Takes some of the images; `index_select` copies each whole, which indexing with a tensor does not."""
    return images.index_select(0, indices) if isinstance(images, Tensor) else images[indices]


def torchvision_transform(
    crop_padding: int,
    horizontal_flip: bool,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    padding_mode: PaddingMode = "constant",
) -> transforms.Compose:
    """Makes the same preparation as `BatchTransform` of torchvision's own transforms, as published scripts write it."""
    steps: list[object] = []
    if crop_padding:
        steps.append(transforms.RandomCrop(32, padding=crop_padding, padding_mode=padding_mode))
    if horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip())
    steps.append(transforms.ToTensor())
    if mean is not None and std is not None:
        steps.append(transforms.Normalize(mean, std))
    return transforms.Compose(steps)


class _TorchvisionImages(Dataset[tuple[Tensor, int, int]]):
    """Images one by one, through PIL, as torchvision's own CIFAR datasets give them."""

    def __init__(self, images: ImageSet, transform: transforms.Compose) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, int, int]:
        data = self.images
        index = position if data.indices is None else int(data.indices[position])
        picture = Image.fromarray(data.images[index].numpy())
        return self.transform(picture), int(data.labels[index]), index


def _collate(items: list[tuple[Tensor, int, int]]) -> Batch:
    pictures, labels, indices = zip(*items, strict=True)
    return Batch(torch.stack(pictures), torch.tensor(labels), torch.tensor(indices))


def torchvision_loader(
    images: ImageSet, batches: GlobalBatches, transform: transforms.Compose, num_workers: int
) -> "DataLoader[tuple[Tensor, int, int]]":
    """Makes the plain DataLoader that people write, with our order of images; it draws crops and flips itself."""
    return DataLoader(
        _TorchvisionImages(images, transform),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate,
    )
