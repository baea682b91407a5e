"""Batches from Dask arrays are the batches from memory."""

from collections.abc import Iterator

import numpy as np
import torch

from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.dask_source import CHUNK_IMAGES, DaskTensor
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.loaders import Batch


def batches(epoch: int, source: str, **settings: object) -> Iterator[Batch]:
    data = CIFARDataModule("cifar10", batch_size=32, seed=3, source=source, **settings)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    yield from loader


def test_same_pixels_in_the_same_order() -> None:
    settings = {"sample": True, "crop_padding": 4, "horizontal_flip": True, "holdout_images": 10_000}
    for epoch in (0, 1):
        pairs = list(zip(batches(epoch, "dask", **settings), batches(epoch, "memory", **settings), strict=True))
        assert len(pairs) > 10
        for chunked, whole in pairs:
            assert torch.equal(chunked.indices, whole.indices)
            assert torch.equal(chunked.labels, whole.labels)
            assert torch.equal(chunked.images, whole.images)


def test_chunks_of_the_full_dataset_are_gathered_in_order(cifar10: CIFARArrays) -> None:
    array = DaskTensor(cifar10.train_images)
    assert array.array.numblocks == (50_000 // CHUNK_IMAGES, 1, 1, 1)
    chosen = np.random.default_rng(0).permutation(50_000)[:200]  # far apart: nearly every chunk is touched
    assert np.array_equal(array[torch.from_numpy(chosen)].numpy(), cifar10.train_images[chosen])
