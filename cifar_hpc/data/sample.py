"""A small real sample of each dataset that ships with the package, for tests and smoke runs.

It is the first 500 training and 200 test images in dataset order, as many of every class; tests/data/test_sources.py
takes it from the whole dataset again.
"""

from importlib.resources import files

import numpy as np

from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.datasets import DATASETS


def load_sample(name: str) -> CIFARArrays:
    """Loads the sample of one dataset: 500 training and 200 test images, balanced over the classes."""
    with np.load(str(files("cifar_hpc.data") / f"sample_{name}.npz")) as content:
        return CIFARArrays(DATASETS[name], **content)
