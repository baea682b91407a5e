"""The group `reproduction` of a row's YAML: what the report says of the row, and where each setting is from.

Plain dataclasses without torch, so that commands which only read rows start at once.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from cifar_hpc.collection.defaults import GROUPS, unknown_names
from cifar_hpc.collection.metrics import METRICS
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys, name_of, shown
from cifar_hpc.errors import did_you_mean, shortened

TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
"""Numbers of images in CIFAR-10 and in CIFAR-100; both hold equally many of each class (A. Krizhevsky, 2009)."""

AveragedOver = Literal["images", "batches", "runs", "unknown"]
Averages = Literal["macro", "weighted", "micro", "unknown"]


@dataclass
class TestSet:
    """What a row was tested on, where no dataset of ours says it.

    Args:
        images: their number.
        classes: their number.
        class_images: images of each class: one number for a balanced set, or a list; null where nobody says.
    """

    __test__ = False  # pytest, which collects classes by their names

    images: int
    classes: int
    class_images: int | list[int] | None = None

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """Images of each class; none where nobody says."""
        if isinstance(self.class_images, int):
            return (self.class_images,) * self.classes
        return None if self.class_images is None else tuple(self.class_images)


@dataclass
class CurvePoint:
    """One line of a printed training log.

    Args:
        epoch: counted from 1.
        train_loss: mean over the epoch, nats.
        train_accuracy_percent: running mean over the epoch.
        validation_loss: after the epoch, nats, of the set that the log calls validation.
        validation_accuracy_percent: after the epoch, on that set.
        test_loss: after the epoch, nats.
        test_accuracy_percent: after the epoch.
        seconds: for the epoch.
    """

    epoch: int
    train_loss: float | None = None
    train_accuracy_percent: float | None = None
    validation_loss: float | None = None
    validation_accuracy_percent: float | None = None
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
        validation_accuracy_percent: on training images set aside.
        top5_accuracy_percent: on the test set: how often the true class is among the five likeliest.
        error_percent: on the test set.
        training_seconds: of the whole training, on the report's hardware.
        seconds_per_epoch: on the report's hardware.
        runs: number of runs of which the printed values are the means; null for one.
        std_percent: printed deviation of the accuracy between these runs.
        averaged_over: what the printed values are means over: all images of the test set, batches of it, or runs.
        averages: how precision, recall and F1 are averaged over classes.
        curve: the printed log, epoch by epoch.
    """

    epochs: int | None = None
    train_accuracy_percent: float | None = None
    test_accuracy_percent: float | None = None
    precision_percent: float | None = None
    recall_percent: float | None = None
    f1_percent: float | None = None
    validation_accuracy_percent: float | None = None
    top5_accuracy_percent: float | None = None
    error_percent: float | None = None
    training_seconds: float | None = None
    seconds_per_epoch: float | None = None
    runs: int | None = None
    std_percent: float | None = None
    averaged_over: AveragedOver = "unknown"
    averages: Averages = "unknown"
    curve: list[CurvePoint] = field(default_factory=list)


@dataclass
class Setting:
    """Where a hyperparameter comes from.

    Args:
        origin: stated in the report, read from its authors' code, inferred, identified by `identify` as what printed
            the very numbers that are judged, or unknown.
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
        report: id of the report, under `reports` in collection.yaml.
        where: place in the report.
        label: what the report calls the row.
        reported: the printed numbers.
        settings: origin of every hyperparameter.
        margin_percent: half-width, in percentage points, of what counts as the same accuracy.
        trainable_parameters: of the row's network; a run with another number is refused.
        test_set: of a row that is for `audit` alone; a row that can be trained is tested on its dataset's.
    """

    row: str | None = None
    recipe: str | None = None
    report: str | None = None
    where: str = ""
    label: str = ""
    reported: Reported = field(default_factory=Reported)
    settings: dict[str, Setting] = field(default_factory=dict)
    margin_percent: float = 1.0
    trainable_parameters: int | None = None
    test_set: TestSet | None = None

    @property
    def name(self) -> str:
        """What its runs and records are filed under."""
        return self.row or self.recipe or "unnamed"


@dataclass
class Report:
    """A report, as collection.yaml has it.

    Args:
        title: title of the report.
        authors: authors as they stand on it.
        year: year of publication.
        url: address where it can be read.
        tools: what it used to be fast, in words.
        mapping: each of those tools, and what is its like here.
        settings: origins that all rows of the report share; a row's own add to or replace them.
    """

    title: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    tools: str = ""
    mapping: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Authors and title."""
        return f"{self.authors}: {self.title}" if self.authors else self.title


def no_id(text: str) -> str:
    """Says what is wrong with the id of a report, in words behind it; empty if nothing is.

    It stands in names of files and of rows, on command lines and in links.
    """
    if re.fullmatch(r"[^\W_][\w-]*", text):
        return ""
    near = re.sub(r"[^\w-]+", "_", text).strip("_-")
    return f"is no id of a report; it may have letters, digits, _ and -, such as {near or 'smith'}"


@dataclass(frozen=True)
class Row:
    """A row's file, read without instantiating anything.

    Attributes:
        path: path of the YAML file.
        reproduction: its group `reproduction`, with the origins that all rows of its report share.
        config: the whole content of the file.
    """

    path: Path
    reproduction: Reproduction
    config: dict[str, Any]

    @property
    def trains(self) -> bool:
        """Whether the file has an experiment; a row without one is for `audit` alone."""
        return not self.config.keys().isdisjoint(GROUPS)

    @property
    def dataset(self) -> str:
        """`cifar10` or `cifar100`; empty where nothing is trained."""
        return str(self.config.get("data", {}).get("dataset", "cifar10")) if self.trains else ""

    @property
    def model(self) -> str:
        """Name of the model's class; empty where nothing is trained."""
        return str(self.config.get("model", {}).get("class_path", "")).rpartition(".")[2]

    @property
    def test_set(self) -> TestSet | None:
        """What the row was tested on: what it says, else its dataset's test set, else nobody knows."""
        if self.reproduction.test_set is not None or "data" not in self.config:
            return self.reproduction.test_set
        classes = 100 if self.dataset == "cifar100" else 10
        return TestSet(TEST_IMAGES, classes, TEST_IMAGES // classes)

    @property
    def train_images(self) -> int:
        """Images that the row trains on."""
        return TRAIN_IMAGES - int(self.config.get("data", {}).get("holdout_images") or 0)

    @property
    def epochs(self) -> int:
        """Epochs that the row trains."""
        return int(self.config["trainer"]["max_epochs"])


_KEYS = ("reproduction", "seed_everything", *GROUPS)
_ROW, _REPORT = ("reproduction", "row"), ("reproduction", "report")


def read_row(path: Path, reports: Mapping[str, Report] | None) -> Row:
    """Reads and checks a row's YAML.

    Args:
        path: the file.
        reports: the collection's reports by id; null where nobody can say, as its index is broken.

    Raises:
        UserError: if the group `reproduction` is wrong; names each mistake with its line and key.
    """
    source = Source(path)
    source.refuse_repeated_keys()
    group, config = source.content.get("reproduction"), source.content
    for key in config.keys() - _KEYS:
        source.refuse((key,), f"the file has the key {key}; it may have {', '.join(_KEYS)}")
    if not isinstance(group, dict):
        source.refuse(("reproduction",), "the file has no group `reproduction`, which says what the report claims")
    else:
        reproduction = source.build(Reproduction, group, ("reproduction",))
        if group.get("row") is not None:
            _check_names(group, source, reports)
            _check_numbers(group, source)
            if reproduction is not None and reproduction.test_set is not None:
                _check_test_set(reproduction.test_set, source)
            _check_experiment(source)
    source.check()
    assert reproduction is not None
    report = (reports or {}).get(reproduction.report or "")
    shared = report.settings if report else {}
    return Row(path, replace(reproduction, settings=shared | reproduction.settings), config)


def _check_names(group: dict[str, Any], source: Source, reports: Mapping[str, Report] | None) -> None:
    """Notes names that do not agree with the file's or the collection's."""
    row, report, path = group["row"], group.get("report"), source.path
    # A run's own config.yaml may be used again.
    if path.name not in (f"{row}.yaml", "config.yaml"):
        source.refuse(_ROW, f"{'.'.join(_ROW)} is {row}, but the file's name asks for {path.stem}")
    mistyped = set(group) - {"report", *(each.name for each in fields(Reproduction))}
    if "report" not in group and any(did_you_mean(str(key), ["report"]) for key in mistyped):
        return  # told already
    if report is None or (reports is not None and isinstance(report, str) and report not in reports):
        found = "is missing" if report is None else f"is {report}"
        known = shortened(", ".join(reports or ()) or "the reports", 120)
        source.refuse(_REPORT, f"{'.'.join(_REPORT)} {found}; it must be one of {known}, which collection.yaml names")


def _check_numbers(group: dict[str, Any], source: Source) -> None:
    """Notes numbers that cannot be; those that are none have been told already."""
    reported = group.get("reported")
    reported = reported if isinstance(reported, dict) else {}
    where: tuple[str | int, ...] = ("reproduction", "reported")
    epochs, runs = (_whole(reported.get(key)) for key in ("epochs", "runs"))
    for key, value in (("epochs", epochs), ("runs", runs)):
        if value is not None and value < 1:
            source.refuse((*where, key), f"{name_of((*where, key))} is {shown(value)}; it must be at least 1")
    _refuse_impossible(reported, where, source)
    previous, curve = 0, reported.get("curve")
    for index, point in enumerate(curve if isinstance(curve, list) else []):
        epoch = _whole(point.get("epoch")) if isinstance(point, dict) else None
        if epoch is None:
            continue
        keys, last = (*where, "curve", index), epochs if epochs and epochs > 0 else math.inf
        if not previous < epoch <= last:
            source.refuse(
                keys,
                f"reproduction.reported.curve has epoch {epoch} after {previous}; epochs must ascend from 1 to "
                f"reproduction.reported.epochs, which is {'not printed' if last == math.inf else last}",
            )
        previous = epoch
        _refuse_impossible(point, keys, source)
    margin = group.get("margin_percent", 1.0)
    if isinstance(margin, int | float) and not 0 < margin <= 10:
        source.refuse(
            ("reproduction", "margin_percent"), f"reproduction.margin_percent is {margin:g}; it must lie in (0, 10]"
        )


def _whole(value: Any) -> int | None:
    """Reads a whole number, which may be a text; null for anything else."""
    try:
        return None if isinstance(value, bool | float) else int(value)
    except (TypeError, ValueError):
        return None


def _check_test_set(test_set: TestSet, source: Source) -> None:
    """Notes a test set that does not add up."""
    where = ("reproduction", "test_set")
    for key, value, least in (("images", test_set.images, 1), ("classes", test_set.classes, 2)):
        if value < least:
            source.refuse((*where, key), f"{'.'.join(where)}.{key} is {shown(value)}; it must be at least {least}")
    sizes = test_set.sizes
    if sizes and (len(sizes) != test_set.classes or min(sizes) < 1 or sum(sizes) != test_set.images):
        source.refuse(
            (*where, "class_images"),
            f"{'.'.join(where)}.class_images is {test_set.class_images}; it must be one number for each of the "
            f"{test_set.classes} classes, at least 1 each and {test_set.images} in all (or one number for all of them)",
        )


def _refuse_impossible(values: dict[str, Any], where: Keys, source: Source) -> None:
    """Notes numbers that no report can print, or that YAML reads as others than those that stand there."""
    for key, printed in values.items():
        try:
            value = float(printed)
        except (TypeError, ValueError):
            continue
        if isinstance(printed, bool):
            continue
        spelling = None if isinstance(printed, str) else source.spelling((*where, key))
        if spelling is not None and _DECIMAL.fullmatch(spelling) is None and math.isfinite(value):
            found, right = spelling, f"YAML reads that as {shown(printed)}; write it with decimal digits alone"
        elif key in ("epoch", "epochs", "runs"):
            continue  # told already
        elif key.endswith("_percent") and not 0 <= value <= 100:
            found, right = f"{value:g}", "a percentage must lie between 0 and 100"
        elif not 0 <= value < math.inf:
            found, right = f"{value:g}", "it must be a finite number of at least 0"
        else:
            continue
        source.refuse((*where, key), f"{name_of((*where, key))} is {found}; {right}")


_DECIMAL = re.compile(r"[-+]?(?!0[0-9]+$)[0-9.]+(?:[eE][-+]?[0-9]+)?")
"""How reports print numbers. YAML has others too: 0x60 is 96, 055 is 45, 9:30 is 570 and 1_0 is 10."""


def _check_experiment(source: Source) -> None:
    """Notes an experiment with a part missing or with names that nobody knows; what else is wrong, `fit` tells."""
    there = [key for key in sorted(GROUPS) if key in source.content]
    for key in there:
        if not isinstance(source.content[key], dict):
            source.refuse((key,), f"{key} is {shown(source.content[key])}; it must be a mapping")
    if there and len(there) < len(GROUPS):
        missing, right = ", ".join(sorted({*GROUPS}.difference(there))), "all three, or none for `audit` alone"
        source.refuse((there[0],), f"the file has {' and '.join(there)} but no {missing}; a row has {right}")
    for keys, kind in _NEEDED.items():
        value: Any = source.content
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(source.content.get(keys[0]), dict) and type(value) is not kind:
            right = "a whole number" if kind is int else "a text"
            source.refuse(keys, f"{name_of(keys)} is {'null' if value is None else value}; it must be {right}")
    for unknown, told in unknown_names(source.content):
        source.refuse(unknown, told)


_NEEDED: dict[tuple[str, ...], type] = {("trainer", "max_epochs"): int, ("model", "class_path"): str}
"""Keys of an experiment whose values are asked for without training it, with their types."""


def reported_values(reported: Reported) -> dict[str, Any]:
    """Collects the reported numbers without the curve, for tables and JSON."""
    return {f.name: getattr(reported, f.name) for f in fields(reported) if f.name not in NO_NUMBERS}


def prints_no_metric(values: Mapping[str, Any]) -> bool:
    """Checks whether reported values hold nothing that a verdict can be given on, but seconds at most.

    Args:
        values: what `reported_values` gives.
    """
    return all(values[metric] is None for metric in METRICS)


NO_NUMBERS = ("curve", "averaged_over", "averages")
"""Fields of `Reported` that are no numbers."""
