"""A small real sample of each dataset that ships with the package, for tests and smoke runs."""

from importlib.resources import files

import numpy as np
import numpy.typing as npt

from cifar_hpc.data.arrays import CIFARArrays, UInt8Array
from cifar_hpc.data.datasets import DATASETS

TRAIN_IMAGES = 500
TEST_IMAGES = 200
"""The first images of each class, in dataset order: as many of every class, 500 and 200 in all."""


def load_sample(name: str) -> CIFARArrays:
    """Loads the sample of one dataset: 500 training and 200 test images, balanced over the classes."""
    with np.load(str(files("cifar_hpc.data") / f"sample_{name}.npz")) as content:
        return CIFARArrays(DATASETS[name], **content)


def take_sample(arrays: CIFARArrays) -> CIFARArrays:
    """Takes the sample from the whole dataset, as the shipped one was made."""
    train = first_of_each_class(arrays.train_labels, TRAIN_IMAGES // arrays.dataset.classes)
    test = first_of_each_class(arrays.test_labels, TEST_IMAGES // arrays.dataset.classes)
    return CIFARArrays(
        arrays.dataset,
        arrays.train_images[train],
        arrays.train_labels[train],
        arrays.test_images[test],
        arrays.test_labels[test],
    )


def first_of_each_class(labels: UInt8Array, count: int) -> npt.NDArray[np.intp]:
    """Finds the indices of the first `count` images of each class, ascending."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)]))
