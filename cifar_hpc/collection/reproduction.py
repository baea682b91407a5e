"""The group `reproduction` of a row's YAML: what the report says of the row, and where each setting is from.

Plain dataclasses without torch, so that commands which only read rows start at once.
"""

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from cifar_hpc.collection.experiment import same_experiment
from cifar_hpc.collection.messages import explain_parser_error
from cifar_hpc.collection.typed import MismatchError, build
from cifar_hpc.errors import UserError

ReportName = Literal["shahrin", "ashraf", "ghugre", "aamir", "luo"]
REPORTS: tuple[str, ...] = get_args(ReportName)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is installed, which is ten times as fast."""

METRICS = (
    "train_accuracy_percent",
    "test_accuracy_percent",
    "precision_percent",
    "recall_percent",
    "f1_percent",
)
"""The reported values that a verdict can be given on, in the order in which tables show them."""


@dataclass
class CurvePoint:
    """One line of a printed training log.

    Args:
        epoch: counted from 1.
        train_loss: mean over the epoch, nats.
        train_accuracy_percent: running mean over the epoch.
        test_loss: after the epoch, nats.
        test_accuracy_percent: after the epoch.
        seconds: for the epoch.
    """

    epoch: int
    train_loss: float | None = None
    train_accuracy_percent: float | None = None
    test_loss: float | None = None
    test_accuracy_percent: float | None = None
    seconds: float | None = None


@dataclass
class Reported:
    """The row's numbers as printed; null where the report is silent.

    Args:
        epochs: number of training epochs.
        train_accuracy_percent: in the last epoch.
        test_accuracy_percent: on the test set.
        precision_percent: on the test set.
        recall_percent: on the test set.
        f1_percent: on the test set.
        training_seconds: of the whole training, on the report's hardware.
        curve: the printed log, epoch by epoch.
    """

    epochs: int | None = None
    train_accuracy_percent: float | None = None
    test_accuracy_percent: float | None = None
    precision_percent: float | None = None
    recall_percent: float | None = None
    f1_percent: float | None = None
    training_seconds: float | None = None
    curve: list[CurvePoint] = field(default_factory=list)


@dataclass
class Setting:
    """Where a hyperparameter comes from.

    Args:
        origin: stated in the report, read from its authors' code, inferred, identified by `identify` as what printed
        the
            very numbers that are judged, or unknown.
        where: the place, or what it is inferred from, or what was chosen and why.
    """

    origin: Literal["stated", "code", "inferred", "identified", "unknown"]
    where: str


@dataclass
class Reproduction:
    """A row of a report's table, or a recipe of our own.

    Args:
        row: id of the row, which is also the name of its file; null for a recipe.
        recipe: name of a recipe that is no row.
        report: which report.
        where: place in the report.
        label: what the report calls the row.
        reported: the printed numbers.
        settings: origin of every hyperparameter.
        margin_percent: half-width, in percentage points, of what counts as the same accuracy.
        trainable_parameters: of the row's network; a run with another number is refused.
    """

    row: str | None = None
    recipe: str | None = None
    report: ReportName | None = None
    where: str = ""
    label: str = ""
    reported: Reported = field(default_factory=Reported)
    settings: dict[str, Setting] = field(default_factory=dict)
    margin_percent: float = 1.0
    trainable_parameters: int | None = None

    @property
    def name(self) -> str:
        """What its runs and records are filed under."""
        return self.row or self.recipe or "unnamed"


@dataclass(frozen=True)
class Row:
    """A row's file, read without instantiating anything.

    Attributes:
        path: the YAML.
        reproduction: its group.
        config: the whole content.
    """

    path: Path
    reproduction: Reproduction
    config: dict[str, Any]

    @property
    def dataset(self) -> str:
        """`cifar10` or `cifar100`."""
        return str(self.config.get("data", {}).get("dataset", "cifar10"))

    @property
    def model(self) -> str:
        """Name of the model's class."""
        return str(self.config.get("model", {}).get("class_path", "")).rpartition(".")[2]


_READ: dict[tuple[Path, int], Row] = {}
"""The rows read so far, by file and time of its last change."""


def reproductions_folder() -> Path:
    """The folder of the rows: beside the package in a clone, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    return next(
        (f for f in (package / "reproductions", package.parent / "reproductions") if f.is_dir()),
        Path("reproductions"),
    )


def row_files() -> list[Path]:
    """Every row's YAML, sorted by id."""
    return sorted(p for p in reproductions_folder().glob("*.yaml") if p.name != "claims.yaml")


def load_row(row: str) -> Row:
    """Reads the row with this id.

    Raises:
        UserError: if there is none or its file is wrong.
    """
    path = reproductions_folder() / f"{row}.yaml"
    if not path.is_file():
        known = ", ".join(p.stem for p in row_files())
        raise UserError(f"There is no row {row}; the rows are {known}")
    return read_row(path)


def relatives(row: str) -> list[Row]:
    """The rows that are one experiment with this one, itself among them: a run of one is evidence for all.

    Raises:
        UserError: if there is no such row, or the file of a relative is wrong.
    """
    own = load_row(row).config
    return [other for other in map(read_row, row_files()) if same_experiment(own, other.config)]


def printed_epochs(row: str) -> tuple[int, ...]:
    """The epochs of which any row of the experiment prints what was measured on the test set, in order.

    Those are the last epochs of its rows, and the epochs of printed logs with a test loss or accuracy.
    """
    epochs: set[int] = set()
    for relative in relatives(row):
        reported = relative.reproduction.reported
        if any(getattr(reported, metric) is not None for metric in METRICS):
            epochs.add(reported.epochs or int(relative.config["trainer"]["max_epochs"]))
        epochs |= {p.epoch for p in reported.curve if (p.test_accuracy_percent, p.test_loss) != (None, None)}
    return tuple(sorted(epochs))


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that must hold a mapping.

    Raises:
        UserError: if it is missing, no YAML, or no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of keys, not {type(content).__name__}")
    return content


def read_row(path: Path) -> Row:
    """Reads and checks a row's YAML.

    Raises:
        UserError: if the group `reproduction` is wrong; names the file and key.
    """
    # Read once, whatever path it is named by.
    key = path.absolute(), path.stat().st_mtime_ns if path.exists() else 0
    if key not in _READ:
        _READ[key] = _read_row(path)
    return replace(_READ[key], path=path)


def _read_row(path: Path) -> Row:
    config = read_yaml(path)
    if not isinstance(config.get("reproduction"), dict):
        raise UserError(f"{path} has no group `reproduction`, which says what the report claims")
    reproduction = parse_group(config["reproduction"], path)
    check(reproduction, path)
    return Row(path, reproduction, config)


def parse_group(group: dict[str, Any], path: Path) -> Reproduction:
    """Turns the mapping of a YAML into a Reproduction, with the types that LightningCLI would demand."""
    with suppress(MismatchError):
        return build(Reproduction, group)
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Reproduction, "reproduction")
    try:
        parsed = parser.instantiate_classes(parser.parse_object({"reproduction": group}))
    except ArgumentError as error:
        raise UserError(explain_parser_error(str(error), [path], [])) from error
    found: Reproduction = parsed.reproduction
    return found


def check(reproduction: Reproduction, path: Path) -> None:
    """What types cannot say: names that must agree, values that must be possible.

    Raises:
        UserError: naming the file and key.
    """
    row = reproduction.row
    if row is None:
        return
    # A run's own config.yaml may be used again.
    if path.name not in (f"{row}.yaml", "config.yaml"):
        raise UserError(f"{path}: reproduction.row is {row}, but the file's name asks for {path.stem}")
    if reproduction.report is None:
        raise UserError(f"{path}: reproduction.report is missing; it must be one of {', '.join(REPORTS)}")
    reported = reproduction.reported
    if reported.epochs is not None and reported.epochs < 1:
        raise UserError(f"{path}: reproduction.reported.epochs is {reported.epochs}; it must be at least 1")
    _check_numbers(asdict(reported), f"{path}: reproduction.reported")
    previous = 0
    for point in reported.curve:
        if point.epoch <= previous or point.epoch > (reported.epochs or point.epoch):
            raise UserError(
                f"{path}: reproduction.reported.curve has epoch {point.epoch} after {previous}; epochs must "
                f"ascend from 1 to reproduction.reported.epochs, which is {reported.epochs}"
            )
        previous = point.epoch
        _check_numbers(asdict(point), f"{path}: reproduction.reported.curve, epoch {point.epoch}")
    if not 0 < reproduction.margin_percent <= 10:
        raise UserError(f"{path}: reproduction.margin_percent is {reproduction.margin_percent}; it must lie in (0, 10]")


def _check_numbers(values: dict[str, Any], where: str) -> None:
    for key, value in values.items():
        if not isinstance(value, float | int):
            continue
        if key.endswith("_percent") and not 0 <= value <= 100:
            raise UserError(f"{where}.{key} is {value}; a percentage must lie between 0 and 100")
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{where}.{key} is {value}; it must be a finite number of at least 0")


def reported_values(reported: Reported) -> dict[str, Any]:
    """The reported values without the curve, for tables and JSON."""
    return {f.name: getattr(reported, f.name) for f in fields(reported) if f.name != "curve"}
