"""Training arrays as Dask arrays; needs the extra `dask`.

So "Parallelization of Image Classification using Convolutional Neural Networks" held them (Table 3).
"""

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cifar_hpc.data.arrays import UInt8Array
from cifar_hpc.errors import UserError

CHUNK_IMAGES = 1000
"""Images in a chunk."""


class DaskTensor:
    """A chunked array from which batches are gathered as from a tensor; same values, same order.

    Args:
        array: shape (N, …), kept in chunks of `CHUNK_IMAGES` along its first axis.

    Raises:
        UserError: if Dask is not installed.
    """

    device = torch.device("cpu")

    def __init__(self, array: UInt8Array) -> None:
        if importlib.util.find_spec("dask") is None:
            raise UserError("data.source: dask needs the package dask; install it with `pip install -e '.[dask]'`")
        import dask.array

        self.array: Any = dask.array.from_array(array, chunks=(CHUNK_IMAGES, *array.shape[1:]))

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: Tensor | int) -> Tensor:
        """Computes the chosen elements, in the order in which they are named."""
        chosen = indices if isinstance(indices, int) else indices.numpy()
        return torch.from_numpy(np.asarray(self.array[chosen].compute(scheduler="threads")))

    def to(self, device: torch.device) -> Tensor:
        """Computes everything at once, as a tensor on a device."""
        return torch.from_numpy(np.asarray(self.array.compute())).to(device)
