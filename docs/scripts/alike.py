"""Measures how alike two runs are to `cifar_hpc.verify.copies`: kept records, linear classifiers, touched-up copies.

    python docs/scripts/alike.py [--epochs 5]

The figures in the docstring of cifar_hpc/verify/copies.py are its output. It trains linear classifiers on CIFAR-10,
which of all networks end most alike.
"""

import argparse
from itertools import combinations

import numpy as np
import torch
from torch.nn import functional as F

from cifar_hpc.data import arrays
from cifar_hpc.records.predictions import read_predictions
from cifar_hpc.verify import reader
from cifar_hpc.verify.copies import hardness


def told(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Prints the range of the correlations, and the smallest median distance, of pairs of standardised losses."""
    correlations = [float(a @ b) for a, b in pairs]
    apart = min(float(np.median(np.abs(a - b))) * len(a) ** 0.5 for a, b in pairs)
    print(
        f"{name}: correlation {min(correlations):.3f} to {max(correlations):.5f}, median distance {apart:.3f} or more"
    )


def linear(seed: int, epochs: int) -> np.ndarray:
    """Trains a linear classifier on CIFAR-10, and returns its standardised losses on the test set."""
    content = arrays.load("cifar10")
    images, tests = (
        torch.tensor(np.array(x)).flatten(1) / 255 - 0.5 for x in (content.train_images, content.test_images)
    )
    labels, answers = (torch.tensor(np.array(x)).long() for x in (content.train_labels, content.test_labels))
    torch.manual_seed(seed)
    network = torch.nn.Linear(images.shape[1], 10)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy(network(tests), answers, reduction="none").numpy()
    found = hardness(losses, answers.numpy().astype(np.uint8))
    assert found is not None
    return found


def main() -> None:
    """Prints a line for each kind of pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="of the linear classifiers")
    epochs = parser.parse_args().epochs
    records = [record for record in reader.read_all(committed_only=True).records if record.learned.losses is not None]
    seeds = [(a, b) for a, b in combinations(records, 2) if a.seed != b.seed and a.name == b.name]
    told("two seeds of a row", [(x, y) for a, b in seeds for x in a.learned.losses for y in b.learned.losses])
    told("two linear classifiers", [(linear(1, epochs), linear(2, epochs))])
    kept = read_predictions(records[-1].path.with_name("predictions.npz"))
    losses, rng = kept.answers["last"].losses, np.random.default_rng(0)
    own = hardness(losses, kept.labels)
    for share in (0.003, 0.05, 0.1, 0.15):
        noisy = losses * np.exp(rng.normal(0, share, len(losses)), dtype=np.float32)
        other = hardness(noisy, kept.labels)
        assert own is not None
        assert other is not None
        told(f"a copy with each loss changed by {share:.1%}", [(own, other)])


if __name__ == "__main__":
    main()
