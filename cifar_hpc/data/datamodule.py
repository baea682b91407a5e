"""The one LightningDataModule: either dataset, any report's preparation and split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule

from cifar_hpc.data import arrays
from cifar_hpc.data.augment import BatchTransform, PaddingMode
from cifar_hpc.data.dask_source import DaskTensor
from cifar_hpc.data.datasets import DATASETS, IMAGE_SHAPE, DatasetName
from cifar_hpc.data.loaders import (
    Batch,
    BatchLoader,
    GlobalBatches,
    ImageSet,
    Share,
    torchvision_loader,
    torchvision_transform,
)
from cifar_hpc.data.order import EpochOrder, holdout_split
from cifar_hpc.data.sample import load_sample
from cifar_hpc.errors import UserError

_MOST_PADDING = IMAGE_SHAPE[0] - 1


class CIFARDataModule(LightningDataModule):
    """CIFAR-10 or CIFAR-100 in memory as uint8, prepared a whole batch at a time.

    The validation loaders are the test set, as every one of the reports looked at it after each epoch, and
    the hold-out where there is one; they carry the names `test` and `holdout`.

    Args:
        dataset: which dataset; CIFAR-100 with its 100 fine labels.
        batch_size: images in a global batch, over all processes together.
        eval_batch_size: images in a batch of evaluation; changes no result.
        crop_padding: pixels of padding for random crops of 32 × 32; 0 for none.
        padding_mode: `constant` pads with zeros, `reflect` with the image mirrored at its border.
        horizontal_flip: whether training images are mirrored with probability one half; `alternating` mirrors each
            image in exactly every other epoch.
        mean: of each channel, for normalisation of pixels in [0, 1]; null for none.
        std: of each channel, for the same normalisation; null for none.
        holdout_images: training images set aside, as scikit-learn's `train_test_split` would.
        holdout_seed: the `random_state` of that split.
        pipeline: `batched` prepares whole batches from memory; `torchvision` is the reference, image by
            image through torchvision's transforms and a DataLoader.
        source: `memory` gathers batches from memory-mapped arrays; `dask` from Dask arrays with chunks: same
            pixels, same order, slower (extra `dask`).
        num_workers: worker processes of the reference pipeline.
        root: where datasets live; null for CIFAR_HPC_DATA or the user's cache folder.
        sample: use the small real sample that ships with the package.
        seed: of the order of images and the augmentation; follows `seed_everything`.
    """

    def __init__(
        self,
        dataset: DatasetName = "cifar10",
        batch_size: PositiveInt = 128,
        eval_batch_size: PositiveInt = 500,
        crop_padding: NonNegativeInt = 0,
        padding_mode: PaddingMode = "constant",
        horizontal_flip: bool | Literal["alternating"] = False,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        holdout_images: NonNegativeInt = 0,
        holdout_seed: int = 42,
        pipeline: Literal["batched", "torchvision"] = "batched",
        source: Literal["memory", "dask"] = "memory",
        num_workers: NonNegativeInt = 0,
        root: Path | None = None,
        sample: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if (mean is None) != (std is None):
            raise UserError("data.mean and data.std go together: give both or neither")
        if pipeline == "torchvision" and horizontal_flip == "alternating":
            raise UserError(
                "data.horizontal_flip: alternating needs data.pipeline: batched; torchvision has no such flip"
            )
        self.dataset = DATASETS[dataset]
        if holdout_images >= self.dataset.train_images:
            raise UserError(
                f"data.holdout_images is {holdout_images}, but {dataset} has {self.dataset.train_images} training "
                "images, of which at least one must be left to train on"
            )
        if crop_padding > _MOST_PADDING:
            raise UserError(
                f"data.crop_padding is {crop_padding}; it must be at most {_MOST_PADDING}, beyond which a crop can "
                "miss the image"
            )
        if std is not None and min(std) <= 0:
            raise UserError(f"data.std is {list(std)}; each must be greater than 0, as pixels are divided by it")
        if not 0 <= holdout_seed < 2**32:
            raise UserError(f"data.holdout_seed is {holdout_seed}; it must lie between 0 and 2**32 - 1")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.crop_padding = crop_padding
        self.padding_mode = padding_mode
        self.horizontal_flip = horizontal_flip
        self.mean = mean
        self.std = std
        self.holdout_images = holdout_images
        self.holdout_seed = holdout_seed
        self.pipeline = pipeline
        self.source = source
        self.num_workers = num_workers
        self.root = root
        self.sample = sample
        self.seed = seed
        self.sha256 = ""
        self._found_sound = False
        self.train_set: ImageSet
        self.evaluation_sets: dict[str, ImageSet]

    def prepare_data(self) -> None:
        """Checks that the dataset is there and sound, once, though Lightning asks before each pass.

        Raises:
            UserError: if it is missing or damaged.
        """
        if not self.sample and not self._found_sound:
            arrays.load(self.dataset.name, self.root)
            self._found_sound = True

    def setup(self, stage: str) -> None:
        """Maps the arrays, splits them, and puts them on the GPU when the run is on one."""
        if self.sample:
            content = load_sample(self.dataset.name)
            self.sha256 = content.sha256()
        else:
            content = arrays.load(self.dataset.name, self.root, check=False)
            self.sha256 = self.dataset.sha256
        wrap = DaskTensor if self.source == "dask" else torch.from_numpy
        train_images, train_labels = wrap(content.train_images), wrap(content.train_labels)
        self.train_set = ImageSet(train_images, train_labels)
        self.evaluation_sets = {
            "test": ImageSet(torch.from_numpy(content.test_images), torch.from_numpy(content.test_labels))
        }
        if self.holdout_images:
            # The sample keeps the share, so that every row runs on it.
            count = self.holdout_images * len(train_labels) // self.dataset.train_images
            train, holdout = holdout_split(len(train_labels), count, self.holdout_seed)
            self.train_set = ImageSet(train_images, train_labels, train)
            self.evaluation_sets["holdout"] = ImageSet(train_images, train_labels, holdout)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cuda" and self.pipeline == "batched" and self.source == "memory":
            self.train_set = self.train_set.to(device)
            self.evaluation_sets = {name: images.to(device) for name, images in self.evaluation_sets.items()}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Spares a batch that is where it should be the search through its fields, which costs 0.05 ms."""
        if isinstance(batch, Batch) and batch.images.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def train_dataloader(self) -> Any:
        """Makes the loader of the training set's batches, in an order that follows from seed and epoch."""
        alternating = self.horizontal_flip == "alternating"
        order = EpochOrder(len(self.train_set), self.seed, True, self.crop_padding, alternating)
        share = self._share(self.batch_size)
        self.check_processes(share.world_size)
        return self._loader(self.train_set, GlobalBatches(order, share), self.crop_padding, bool(self.horizontal_flip))

    def check_processes(self, processes: int) -> None:
        """Checks that each global batch, the last included, divides evenly; else gradients would be weighted wrongly.

        Args:
            processes: number of processes that will train together.

        Raises:
            UserError: if they cannot share the batches; names the numbers of processes that can.
        """
        sizes = (self.batch_size, len(self.train_set) % self.batch_size)
        if any(size % processes for size in sizes):
            works = [n for n in range(1, self.batch_size + 1) if not any(size % n for size in sizes)]
            raise UserError(
                f"{processes} processes cannot share data.batch_size {self.batch_size} and a last batch of {sizes[1]} "
                f"evenly; these numbers of processes can: {', '.join(map(str, works))}"
            )

    def val_dataloader(self) -> Mapping[str, Any]:
        """Makes the loaders of the test set, and of the hold-out where there is one."""
        return {name: self._evaluation_loader(images) for name, images in self.evaluation_sets.items()}

    def test_dataloader(self) -> Mapping[str, Any]:
        """Makes the loader of the test set, every image once."""
        return {"test": self._evaluation_loader(self.evaluation_sets["test"])}

    def predict_dataloader(self) -> Mapping[str, Any]:
        """Makes the loader of the test set, every image once."""
        return self.test_dataloader()

    def _evaluation_loader(self, images: ImageSet) -> Any:
        order = EpochOrder(len(images), self.seed, shuffle=False)
        return self._loader(images, GlobalBatches(order, self._share(self.eval_batch_size)), 0, False)

    def _loader(self, images: ImageSet, batches: GlobalBatches, crop_padding: int, flip: bool) -> Any:
        if self.pipeline == "torchvision":
            reference = torchvision_transform(crop_padding, flip, self.mean, self.std, self.padding_mode)
            return torchvision_loader(images, batches, reference, self.num_workers)
        transform = BatchTransform(crop_padding, flip, self.mean, self.std, self.padding_mode)
        return BatchLoader(images, batches, transform)

    def _share(self, batch_size: int) -> Share:
        if self.trainer is None:
            return Share(batch_size)
        return Share(batch_size, self.trainer.global_rank, self.trainer.world_size)
