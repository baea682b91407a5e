"""Faults put in on purpose: kills, hostile bytes, full disks. Seeded, so that each can be had again by its number.

The default run takes a sample of each kind; `make faults` takes all.
"""

import os

ALL = os.environ.get("FAULTS") == "all"


def numbers(all_of_them: int, sample: int) -> range:
    """The numbers of the faults of one kind that this run takes."""
    return range(all_of_them) if ALL else range(0, all_of_them, -(-all_of_them // sample))
