"""Which images an epoch shows, in which order, and how each is augmented.

All of it follows from the seed and the number of the epoch alone. A resumed run, a run with another number
of processes and a run on other hardware therefore see the same images in the same global batches with the
same crops and flips.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

_NO_EPOCH = 2**32 - 1
"""An epoch that no run reaches, whose seed serves what is drawn once for all epochs."""


@dataclass(frozen=True)
class Draws:
    """The random choices for some images, in the order in which they are shown.

    Attributes:
        indices: shape (N,), which image.
        top: shape (N,), first row of the crop in the padded image.
        left: shape (N,), first column of the crop in the padded image.
        flip: shape (N,), bool, whether it is mirrored after cropping.
    """

    indices: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor

    def take(self, positions: slice) -> "Draws":
        """Takes the draws of one batch."""
        return Draws(self.indices[positions], self.top[positions], self.left[positions], self.flip[positions])

    @classmethod
    def join(cls, parts: "list[Draws]") -> "Draws":
        """Joins the draws of several batches, one after the other."""
        columns = zip(*((part.indices, part.top, part.left, part.flip) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


class EpochOrder:
    """Draws a whole epoch at a time.

    Lightning calls `set_epoch` on whatever a loader offers as its `sampler`, which is how an instance
    learns the epoch, in a resumed run too.

    Args:
        images: number of images.
        seed: seed of the run.
        shuffle: whether to permute the images; without it nothing is drawn and nothing augmented.
        crop_padding: pixels of padding on each side from which crops are drawn.
        alternating_flip: whether an image is mirrored in every other epoch, starting with one drawn for it, rather
            than by a new draw in each epoch.
    """

    def __init__(
        self, images: int, seed: int, shuffle: bool, crop_padding: int = 0, alternating_flip: bool = False
    ) -> None:
        self.images = images
        self.seed = seed
        self.shuffle = shuffle
        self.crop_padding = crop_padding
        self.alternating_flip = alternating_flip
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, counted from 0, whose draws come next."""
        self.epoch = epoch

    def draw(self) -> Draws:
        """Makes the draws of the chosen epoch, the same at every call."""
        n, p = self.images, self.crop_padding
        if not self.shuffle:
            return Draws(torch.arange(n), torch.full((n,), p), torch.full((n,), p), torch.zeros(n, dtype=torch.bool))
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        draws = Draws(
            torch.randperm(n, generator=generator),
            torch.randint(0, 2 * p + 1, (n,), generator=generator),
            torch.randint(0, 2 * p + 1, (n,), generator=generator),
            torch.rand(n, generator=generator) < 0.5,
        )
        return replace(draws, flip=self._alternated(draws.indices)) if self.alternating_flip else draws

    def _alternated(self, indices: Tensor) -> Tensor:
        """Makes flips that two consecutive epochs never share: K. Jordan, arXiv:2404.00498."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, _NO_EPOCH))
        first = torch.rand(self.images, generator=generator) < 0.5
        return first[indices] ^ bool(self.epoch % 2)


def epoch_seed(seed: int, epoch: int) -> int:
    """Makes a seed for each epoch of each run; neighbouring pairs give unrelated streams."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def holdout_split(images: int, holdout: int, seed: int) -> tuple[Tensor, Tensor]:
    """Splits indices into training and hold-out as scikit-learn's `train_test_split` does.

    The same as `train_test_split(range(images), test_size=holdout, random_state=seed)`, which many
    notebooks use (a permutation whose head is the hold-out), without the dependency.

    Returns:
        Indices for training, shape (images - holdout,), and of the hold-out, shape (holdout,).
    """
    permutation = torch.from_numpy(np.random.RandomState(seed).permutation(images))
    return permutation[holdout:], permutation[:holdout]
