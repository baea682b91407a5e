"""What the reports assert across rows, as written in the collection's claims.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from cifar_hpc.collection.folder import Collection
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys
from cifar_hpc.collection.typed_yaml import read_lists

Quantity = Literal["seconds_per_epoch", "training_seconds", "test_accuracy_percent", "train_accuracy_percent"]

FACTS = ("accelerator", "gpu", "world_size", "threads", "benchmark", "strategy", "precision")
"""What a claim may require of a record's hardware."""


@dataclass
class Contradiction:
    """The finding of `audit` that refutes a claim.

    Args:
        rule: its rule.
        numbers: the printed numbers that it holds, all of them.
    """

    rule: str
    numbers: list[float]


@dataclass
class Claim:
    """One assertion across rows.

    Args:
        id: of the claim.
        report: which.
        where: place in the report.
        statement: as printed, or the printed numbers that it follows from.
        quantity: what is compared.
        ahead: rows or recipes that are said to be ahead: more accurate, or quicker.
        behind: the others; a name that ends in * stands for all other recipes of that beginning.
        base: for recipes of a study, the row that they are added to.
        says: ahead `by` what is reported, just `ahead`, `not behind`, or ahead by `up to` what is reported.
        reported: ratio of seconds or difference in percentage points, where the text states it; null where it
            follows from the rows' own printed numbers, or none is printed.
        margin: what counts as the same: a share of a ratio (0.1 is 10 %), or percentage points.
        epoch: at which accuracies are compared; null for the last.
        requires: for a row, what its records' hardware must be, for the claim to be about them.
        contradicted_by: what `audit` finds against it.
    """

    id: str
    report: str
    where: str
    statement: str
    quantity: Quantity
    ahead: list[str]
    behind: list[str]
    base: str | None = None
    says: Literal["by", "ahead", "not behind", "up to"] = "ahead"
    reported: float | None = None
    margin: float | None = None
    epoch: int | None = None
    requires: dict[str, dict[str, str | int | bool]] = field(default_factory=dict)
    contradicted_by: Contradiction | None = None
    place = "claims.yaml"
    """File and line, for messages."""

    @property
    def is_time(self) -> bool:
        """Whether seconds are compared, not accuracies."""
        return self.quantity.endswith(("seconds", "seconds_per_epoch"))

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows and recipes that test it."""
        return (*self.ahead, *self.behind)


def read_claims(collection: Collection) -> tuple[list[Claim], list[str]]:
    """Reads and checks a collection's claims.yaml, which it need not have.

    Names that end in * are replaced by the recipes that they stand for.

    Args:
        collection: whose.

    Returns:
        The sound claims, and a sentence on each mistake.
    """
    seen: set[str] = set()
    files = {file.stem for file in collection.row_files}

    def check(source: Source, keys: Keys, claim: Claim) -> bool:
        before = len(source.mistakes)
        claim.place = f"{source.path}:{source.line(keys)}"
        for key, sentence in _wrong(claim, collection, files):
            source.refuse((*keys, key), f"the claim {claim.id} {sentence}")
        if claim.id in seen:
            source.refuse((*keys, "id"), f"two claims have the id {claim.id}")
        seen.add(claim.id)
        claim.behind = [name for pattern in claim.behind for name in _matches(pattern, claim, collection)]
        broken = files.intersection((*claim.rows, claim.base)) - collection.rows.keys()
        return len(source.mistakes) == before and not broken

    found, mistakes = read_lists(collection.folder / "claims.yaml", {"claims": Claim}, check)
    return found["claims"], mistakes


def _wrong(claim: Claim, collection: Collection, files: set[str]) -> Iterator[tuple[str, str]]:
    """Checks a claim; yields the key of each thing that is wrong, with a sentence."""
    known = files | collection.recipes.keys()
    if claim.report not in collection.reports:
        yield "report", f"has the report {claim.report}; it must be one of {', '.join(collection.reports)}"
    if not claim.ahead or not claim.behind:
        yield "ahead", "must name at least one row ahead and one behind"
    if claim.says in ("by", "up to") and len(claim.rows) != 2:
        yield "says", f"says {claim.says!r}, which compares one row with one, but it names {len(claim.rows)}"
    for key in ("reported", "margin", "epoch"):
        value = getattr(claim, key)
        if value is not None and value <= 0:
            yield key, f"has the {key} {value:g}; it must be greater than 0"
    if claim.is_time and claim.epoch is not None:
        yield "epoch", "compares seconds, which are means over epochs, so it may have no epoch"
    for row, facts in claim.requires.items():
        if row not in claim.rows:
            yield "requires", f"requires something of {row}, which it does not compare"
        if unknown := [fact for fact in facts if fact not in FACTS]:
            yield "requires", f"requires {unknown[0]} of {row}; it may require {', '.join(FACTS)}"
    for key in ("ahead", "behind"):
        for name in getattr(claim, key):
            if not _matches(name, claim, collection):
                yield key, f"names {name}, which no recipe in a folder of {collection.folder} matches"
            elif not name.endswith("*") and name not in known:
                yield key, f"names {name}, which is neither a row nor a recipe of {collection.folder}"
    if claim.base is not None and claim.base not in files:
        yield "base", f"has the base {claim.base}, which is no row; `rows` lists the ids"


def _matches(pattern: str, claim: Claim, collection: Collection) -> list[str]:
    """Lists what a name stands for."""
    if not pattern.endswith("*"):
        return [pattern]
    return [name for name in collection.recipes if fnmatchcase(name, pattern) and name not in claim.ahead]
