from collections import Counter

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from cifar_hpc.data import loaders
from cifar_hpc.data.augment import BatchTransform, crop, crop_by_gather, pad
from cifar_hpc.data.loaders import (
    Batch,
    BatchLoader,
    GlobalBatches,
    ImageSet,
    Share,
    torchvision_loader,
    torchvision_transform,
)
from cifar_hpc.data.order import Draws, EpochOrder
from cifar_hpc.data.sample import load_sample

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def sample_set() -> ImageSet:
    content = load_sample("cifar10")
    return ImageSet(torch.from_numpy(content.train_images), torch.from_numpy(content.train_labels))


def by_torchvision(image: Tensor, padding: int, draws: Draws, i: int, flip: bool, normalise: bool) -> Tensor:
    """One image through torchvision's functions, as its RandomCrop, RandomHorizontalFlip and so on call them."""
    picture = Image.fromarray(image.numpy())
    if padding:
        picture = TF.pad(picture, [padding])
        picture = TF.crop(picture, int(draws.top[i]), int(draws.left[i]), 32, 32)
    if flip and draws.flip[i]:
        picture = TF.hflip(picture)
    tensor: Tensor = TF.to_tensor(picture)
    if normalise:
        tensor = TF.normalize(tensor, MEAN, STD)
    return tensor


@pytest.mark.parametrize("padding", [0, 2, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_same_pixels_as_torchvision_for_the_same_draws(padding: int, flip: bool, normalise: bool) -> None:
    images = torch.from_numpy(load_sample("cifar10").train_images)
    draws = EpochOrder(len(images), seed=3, shuffle=True, crop_padding=padding).draw()
    draws = Draws(torch.arange(len(images)), draws.top, draws.left, draws.flip)
    ours = BatchTransform(padding, flip, MEAN if normalise else None, STD if normalise else None)(images, draws)
    theirs = torch.stack([by_torchvision(image, padding, draws, i, flip, normalise) for i, image in enumerate(images)])
    assert (ours - theirs).abs().max() <= 1e-6
    assert ours.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8), st.integers(1, 9), st.integers(0, 2**31), st.booleans())
def test_any_batch_agrees_with_torchvision(padding: int, batch: int, seed: int, flip: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8, generator=generator)
    draws = EpochOrder(batch, seed, shuffle=True, crop_padding=padding).draw()
    ours = BatchTransform(padding, flip)(images, draws)
    theirs = torch.stack([by_torchvision(image, padding, draws, i, flip, False) for i, image in enumerate(images)])
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_reflected_padding_is_torchvisions(padding: int) -> None:
    images = torch.from_numpy(load_sample("cifar10").train_images[:50])
    ours = pad(images, padding, "reflect")
    theirs = [TF.pad(Image.fromarray(image.numpy()), [padding], padding_mode="reflect") for image in images]
    assert torch.equal(ours, torch.stack([torch.from_numpy(np.array(picture)) for picture in theirs]))
    draws = EpochOrder(len(images), seed=3, shuffle=True, crop_padding=padding).draw()
    crops = BatchTransform(padding, padding_mode="reflect")(images, draws)
    for i, picture in enumerate(theirs):
        crop = TF.to_tensor(TF.crop(picture, int(draws.top[i]), int(draws.left[i]), 32, 32))
        assert torch.equal(crops[i], crop)


def test_rows_copied_and_pixels_gathered_give_the_same_crops() -> None:
    padded = pad(torch.from_numpy(load_sample("cifar10").train_images), 3, "constant")
    draws = EpochOrder(len(padded), seed=5, shuffle=True, crop_padding=3).draw()
    before = padded.clone()
    assert torch.equal(crop(padded, draws, 3), crop_by_gather(padded, draws, 3))
    assert torch.equal(padded, before)


def test_both_pipelines_draw_from_the_same_distribution() -> None:
    # One image, shown often: every crop and flip must come as often from ours as from torchvision's.
    padding, shows = 2, 20_000
    coordinates = np.zeros((32, 32, 3), dtype=np.uint8)
    coordinates[..., 0] = np.arange(1, 33)[:, None]
    coordinates[..., 1] = np.arange(1, 33)[None, :]
    images = ImageSet(torch.from_numpy(coordinates).expand(shows, 32, 32, 3), torch.zeros(shows, dtype=torch.uint8))

    def counts(batches: object) -> Tensor:
        found = torch.zeros(5, 5, 2)
        for batch in batches:  # type: ignore[attr-defined]
            centre = (batch.images[:, :2, 16, 15:17] * 255).round().long()
            top = centre[:, 0, 0] - 17 + padding
            flipped = (centre[:, 1, 0] > centre[:, 1, 1]).long()
            left = torch.minimum(centre[:, 1, 0], centre[:, 1, 1]) - 16 + padding
            for t, x, f in zip(top.tolist(), left.tolist(), flipped.tolist(), strict=True):
                found[t, x, f] += 1
        return found

    order = EpochOrder(shows, seed=0, shuffle=True, crop_padding=padding)
    batches = GlobalBatches(order, Share(1000))
    torch.manual_seed(0)
    theirs = counts(torchvision_loader(images, batches, torchvision_transform(padding, True, None, None), 0))
    ours = counts(BatchLoader(images, batches, BatchTransform(padding, True)))
    expected = shows / 50
    for found in (ours, theirs):
        # chi-squared with 49 degrees of freedom: 85.4 is passed once in a thousand
        assert ((found - expected) ** 2 / expected).sum() < 85.4


@pytest.mark.parametrize("batch_size", [2, 32, 100])
@pytest.mark.parametrize("process", [0, 1])
def test_batches_prepared_together_are_those_prepared_alone(
    batch_size: int, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = EpochOrder(len(sample_set()), seed=0, shuffle=True, crop_padding=2)
    batches = GlobalBatches(order, Share(batch_size, process, world_size=2))
    loader = BatchLoader(sample_set(), batches, BatchTransform(2, True, MEAN, STD))
    preparations = Counter[str]()
    prepare = BatchLoader._prepare

    def counted(self: BatchLoader, draws: Draws) -> Batch:
        preparations[name] += 1
        return prepare(self, draws)

    monkeypatch.setattr(BatchLoader, "_prepare", counted)
    name = "together"
    together = list(loader)
    name = "alone"
    monkeypatch.setitem(loaders._PREPARED_AT_ONCE, "cpu", 1)
    alone = list(loader)
    assert preparations["together"] < preparations["alone"] == len(loader)
    for one, other in zip(together, alone, strict=True):
        assert all(torch.equal(part, same) for part, same in zip(one, other, strict=True))
        assert one.images.is_contiguous(memory_format=torch.channels_last)


def test_no_augmentation_of_what_is_looked_at() -> None:
    images = sample_set()
    order = EpochOrder(len(images), seed=0, shuffle=False, crop_padding=4)
    loader = BatchLoader(images, GlobalBatches(order, Share(100)), BatchTransform(4, True))
    pixels = torch.cat([batch.images for batch in loader])
    assert torch.equal(
        (pixels * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(load_sample("cifar10").train_images)
    )
