"""Compares the speed of `fit` under the overlay between checkouts of this repository, before and after a change.

python docs/scripts/compare.py ROW CHECKOUT CHECKOUT...: images per second of each checkout, and the ratio to the first,
in short turns of one run, medians and quartiles. A ratio of two checkouts of the same commit says how far to trust it.
"""

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from cifar_hpc.bench.turns import Contestant

TURNS, SECONDS = 80, 0.3


def main(row: str, checkouts: list[Path]) -> None:
    """Prints a line for each checkout."""
    rates: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
    with ExitStack() as stack:
        contestants = {}
        for checkout in checkouts:
            files = (checkout / "reproductions" / f"{row}.yaml", checkout / "configs" / "fast.yaml")
            arguments = [argument for file in files for argument in ("-c", str(file))]
            # -P: else the package of the folder that this is run in would come first.
            command = [sys.executable, "-P", "-m", "cifar_hpc.bench.ours", *arguments]
            contestants[checkout] = stack.enter_context(Contestant(command, {"PYTHONPATH": str(checkout)}))
            contestants[checkout].take_turn(SECONDS)  # warms up, before the next one starts
        for _ in range(TURNS):
            for checkout, contestant in contestants.items():
                rates[checkout].append(contestant.take_turn(SECONDS))
    first = rates[checkouts[0]]
    for checkout, found in rates.items():
        low, ratio, high = statistics.quantiles(ours / theirs for ours, theirs in zip(found, first, strict=True))
        print(f"{checkout}: {statistics.median(found):.0f} images/s, ratio {ratio:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main(sys.argv[1], [Path(argument).resolve() for argument in sys.argv[2:]])
