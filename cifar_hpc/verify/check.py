"""One thing that a record says, held against its evidence."""

from dataclasses import dataclass
from typing import Any

from cifar_hpc.collection.typed import shown

TOLERANCE = 1e-6
"""The last decimal that a record keeps: its metrics are rounded to six, and were computed in float32."""


@dataclass(frozen=True)
class Check:
    """One thing that a record says, and what its evidence says.

    Attributes:
        what: key of the record, or what else must hold.
        recorded: as the record has it, or what must be.
        recomputed: from the evidence.
        source: the evidence.
        tolerance: by which numbers may differ.
    """

    what: str
    recorded: Any
    recomputed: Any
    source: str
    tolerance: float = TOLERANCE

    @property
    def agrees(self) -> bool:
        """Whether both are equal, or numbers that differ by no more than they may."""
        if isinstance(self.recorded, float) and isinstance(self.recomputed, float):
            return abs(self.recorded - self.recomputed) <= self.tolerance + 1e-9
        return bool(self.recorded == self.recomputed)

    @property
    def sentence(self) -> str:
        """How they disagree."""
        return f"{self.what} is {_short(self.recorded)}, but from {self.source} follows {_short(self.recomputed)}"


def _short(value: Any) -> str:
    """Shows digests by their first digits, other values as they are."""
    if isinstance(value, str):
        return f"{value[:12]}…" if len(value) == 64 else value[:80]
    return f"{value:.6f}".rstrip("0") if isinstance(value, float) else shown(value)
