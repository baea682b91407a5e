"""What the reports assert across rows, as written in reproductions/claims.yaml."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from cifar_hpc.collection import reproduction
from cifar_hpc.collection.reproduction import REPORTS
from cifar_hpc.collection.typed_yaml import read_lists
from cifar_hpc.errors import UserError

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

    @property
    def is_time(self) -> bool:
        """Whether seconds are compared, not accuracies."""
        return self.quantity.endswith(("seconds", "seconds_per_epoch"))

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows and recipes that test it."""
        return (*self.ahead, *self.behind)


def claims_file() -> Path:
    """Where the claims are kept."""
    return reproduction.reproductions_folder() / "claims.yaml"


def known_files() -> dict[str, Path]:
    """The YAML of every row and of every recipe of a study, by name."""
    rows = {path.stem: path for path in reproduction.row_files()}
    recipes = {}
    for path in sorted(reproduction.reproductions_folder().glob("*/*.yaml")):
        group = reproduction.read_yaml(path).get("reproduction")
        if isinstance(group, dict) and group.get("recipe"):
            recipes[str(group["recipe"])] = path
    return rows | recipes


def read_claims(path: Path, known: dict[str, Path]) -> list[Claim]:
    """Reads and checks the claims; names that end in * are replaced by the recipes that they stand for.

    Args:
        path: the YAML.
        known: files of all rows and recipes.

    Raises:
        UserError: if it is wrong; names the file, the claim and the key.
    """
    claims: list[Claim] = read_lists(path, {"claims": Claim})["claims"]
    for number, claim in enumerate(claims):
        if claim.id in [other.id for other in claims[:number]]:
            raise UserError(f"{path} has two claims with the id {claim.id}")
        _check(claim, known, f"{path}: the claim {claim.id}")
        claim.behind = [name for pattern in claim.behind for name in _matches(pattern, claim, known)]
    return claims


def _check(claim: Claim, known: dict[str, Path], where: str) -> None:
    if claim.report not in REPORTS:
        raise UserError(f"{where} has the report {claim.report}; it must be one of {', '.join(REPORTS)}")
    if not claim.ahead or not claim.behind:
        raise UserError(f"{where} must name at least one row ahead and one behind")
    if claim.says in ("by", "up to") and len(claim.rows) != 2:
        raise UserError(f"{where} says {claim.says!r}, which compares one row with one, but it names {len(claim.rows)}")
    for key in ("reported", "margin", "epoch"):
        value = getattr(claim, key)
        if value is not None and value <= 0:
            raise UserError(f"{where} has the {key} {value}; it must be greater than 0")
    if claim.is_time and claim.epoch is not None:
        raise UserError(f"{where} compares seconds, which are means over epochs, so it may have no epoch")
    for row, facts in claim.requires.items():
        if row not in claim.rows:
            raise UserError(f"{where} requires something of {row}, which it does not compare")
        if unknown := [fact for fact in facts if fact not in FACTS]:
            raise UserError(f"{where} requires {unknown[0]} of {row}; it may require {', '.join(FACTS)}")
    for pattern in claim.behind:
        if pattern.endswith("*") and not _matches(pattern, claim, known):
            raise UserError(f"{where} names {pattern}, which no recipe under reproductions/ matches")
    for name in claim.rows:
        if not name.endswith("*") and name not in known:
            raise UserError(f"{where} names {name}, which is neither a row nor a recipe under reproductions/")
    if claim.base is not None and (claim.base not in known or known[claim.base].stem != claim.base):
        raise UserError(f"{where} has the base {claim.base}, which is no row; `rows` lists the ids")


def _matches(pattern: str, claim: Claim, known: dict[str, Path]) -> list[str]:
    """What a name stands for."""
    if not pattern.endswith("*"):
        return [pattern]
    return [name for name in known if fnmatchcase(name, pattern) and name not in claim.ahead]
