"""What the head of a column, or a name in a log, says is printed under it."""

import re
from dataclasses import dataclass, fields

from cifar_hpc.collection.reproduction import CurvePoint
from cifar_hpc.transcribe.printed import UNITS, clean

ROW_KEYS = (
    "epochs", "train_accuracy_percent", "validation_accuracy_percent", "test_accuracy_percent", "top5_accuracy_percent",
    "error_percent", "precision_percent", "recall_percent", "f1_percent", "training_seconds", "seconds_per_epoch",
    "runs", "std_percent",
)  # fmt: skip
"""What a row reports once, in the order of its file."""

POINT_KEYS = tuple(f.name for f in fields(CurvePoint) if f.name != "epoch")
"""What a log prints of each epoch."""

OTHER_KEYS = ("label", "epoch", "ignore")
"""What a column may be besides a quantity."""

_SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "holdout"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPLIT_WORD = re.compile(r"(?<![a-z])(train(?:ing)?|val(?:id(?:ation)?|idating)?|test(?:ing)?)(?![a-z])", re.I)
"""Finds the name of a part of the data in a line of text."""

# The first of these of which all words stand in a name is what it means.
_KINDS: tuple[tuple[str, tuple[set[str], ...]], ...] = (
    ("top5", ({"top", "5"}, {"acc", "5"}, {"accuracy", "5"}, {"prec", "5"})),
    ("f1", ({"f", "1"}, {"fscore"}, {"f", "score"}, {"f", "measure"}, {"fmeasure"})),
    ("seconds_per_epoch", tuple({word, "epoch"} for word in ("time", "seconds", "secs", "sec", "s", "duration"))),
    ("loss", ({"loss"}, {"crossentropy"}, {"cross", "entropy"})),
    ("std", ({"std"}, {"stdev"}, {"stddev"}, {"sd"}, {"standard", "deviation"}, {"σ"}, {"±"})),
    ("error", ({"error"}, {"err"}, {"errors"})),
    ("accuracy", ({"accuracy"}, {"acc"}, {"accuracies"}, {"top", "1"}, {"prec", "1"})),
    ("precision", ({"precision"}, {"prec"})),
    ("recall", ({"recall"}, {"sensitivity"})),
    ("training_seconds", ({"time"}, {"duration"}, {"runtime"}, {"seconds"}, {"secs"}, {"sec"}, {"elapsed"})),
    ("epochs", ({"epochs"},)),
    ("epoch", ({"epoch"},)),
    ("runs", ({"runs"}, {"seeds"}, {"trials"}, {"repetitions"}, {"repeats"})),
    ("label", tuple({word} for word in (
        "model", "models", "method", "methods", "network", "architecture", "name", "config", "configuration", "variant",
        "algorithm", "approach", "experiment", "setup", "system", "technique", "label", "run", "seed", "dataset",
        "classifier",
    ))),
)  # fmt: skip

_MAY_STAND_BESIDE = {
    "1", "10", "100", "and", "average", "avg", "best", "by", "cifar", "classification", "clock", "data", "dataset",
    "deep", "epoch", "fashion", "final", "for", "image", "images", "in", "last", "learning", "max", "mean", "mnist",
    "no", "num", "number", "of", "on", "over", "overall", "per", "rate", "score", "set", "size", "svhn", "taken",
    "the", "to", "top", "total", "trained", "wall",
}  # fmt: skip
_BESIDE = {
    "label": _MAY_STAND_BESIDE | {"used", "id"},
    "std": _MAY_STAND_BESIDE | {"acc", "accuracy", "error", "err"},
    "top5": _MAY_STAND_BESIDE | {"acc", "accuracy"},
    "training_seconds": _MAY_STAND_BESIDE - {"size", "learning", "deep"},
}
_AVERAGES = {"macro", "weighted", "micro"}
_SPREAD = r"(?:±|σ|(?<![a-z])(?:std|sd|s\.\s?d\.|st(?:d|andard)?\.?[ _]?dev(?:iations?|s)?\.?)(?![a-z]))"
_MEAN_AND_SPREAD = re.compile(rf"[(\[,;/ ]*(?:mean|average|avg\.?)?[\s(\[,;/]*{_SPREAD}[\s)\]]*", re.I)


@dataclass(frozen=True)
class Meaning:
    """What a column holds.

    Attributes:
        kind: kind of quantity, such as accuracy; empty for none that is known.
        split: part of the data: train, validation or test; empty where none is named.
        unit: unit that the head names, of `UNITS`; empty for none.
        averages: kind of average: macro, weighted or micro, where the head says so.
        total: whether a time is said to be the total.
    """

    kind: str = ""
    split: str = ""
    unit: str = ""
    averages: str = ""
    total: bool = False


def names_spread(text: str) -> bool:
    """Checks whether a head or a caption says that standard deviations stand beside the values."""
    return re.search(_SPREAD, clean(text), re.I) is not None


def without_spread(name: str) -> str:
    """Takes from the head of a column, whose cells hold means and deviations, what it says of these."""
    return _MEAN_AND_SPREAD.sub(" ", clean(name))


def meaning(name: str) -> Meaning:
    """Reads the head of a column, or a name in a log."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", clean(name)).lower()
    # What stands behind a ± is said by the cells.
    text = (
        re.sub(r"(?:mean|average|avg)?\s*±\s*(?:std|sd|stdev|σ)?(?=\W*$)", " ", text)
        if re.search(r"[a-z]{3}.*±", text)
        else text
    )
    unit = ""
    for part in re.findall(r"[\[(]([^\[\]()]*)[\])]", text):
        if part.strip() in UNITS:
            unit = UNITS[part.strip()]
            text = re.sub(rf"[\[(]\s*{re.escape(part.strip())}\s*[\])]", " ", text)
    if tail := re.search(
        r"(?:\bin\s+|[,/]\s*|\s|^)(%|percent|percentage|pct|seconds|secs?|minutes|mins?|hours|ms)\s*$", text
    ):
        unit = unit or UNITS[tail[1]]
        text = text if tail[1] in ("seconds", "secs", "sec") else text[: tail.start()]
    if "%" in text:
        unit, text = unit or "%", text.replace("%", " ")
    words = re.findall(r"[a-zσ±]+|\d+", text)
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    averages = _AVERAGES.intersection(words)
    rest = {word for word in words if word not in _SPLITS} - averages
    for kind, alternatives in _KINDS:
        needed = next((words for words in alternatives if words <= rest), None)
        if needed is not None:
            strange = rest - needed - _BESIDE.get(kind, _MAY_STAND_BESIDE)
            if kind in ("training_seconds", "seconds_per_epoch") and (needed | rest) & {"s", "sec", "secs", "seconds"}:
                unit, strange = unit or "s", strange - {"s", "sec", "secs", "seconds", "time"}
            if strange or len(splits) > 1 or len(averages) > 1:
                break
            return Meaning(kind, "".join(splits), unit, "".join(averages), "total" in rest)
    return Meaning(unit=unit)


def row_key(found: Meaning) -> str | None:
    """Finds the key under which a row reports this; None where no key is sure."""
    if found.kind == "accuracy":
        return f"{found.split}_accuracy_percent" if found.split else None
    if found.kind in ("top5", "error", "precision", "recall", "f1"):
        key = {"top5": "top5_accuracy_percent"}.get(found.kind, f"{found.kind}_percent")
        return key if found.split in ("", "test") else None
    if found.kind in ("training_seconds", "seconds_per_epoch"):
        return found.kind if found.split in ("", "train") else None
    if found.kind in ("std", "runs", "epochs", "epoch", "label"):
        fits = {"std": "test", "epochs": "train"}.get(found.kind, "")
        key = {"std": "std_percent", "epoch": "epochs"}.get(found.kind, found.kind)
        return key if found.split in ("", fits) else None
    return None


def point_key(found: Meaning) -> str | None:
    """Finds the key under which a log's epoch has this; None where no key is sure, a row's if a log prints it once."""
    if found.kind == "loss":
        return f"{found.split}_loss" if found.split else None
    if found.kind in ("training_seconds", "seconds_per_epoch"):
        once = found.total and found.kind == "training_seconds"
        return None if found.split in ("validation", "test") else "training_seconds" if once else "seconds"
    if found.kind == "epochs":
        return None
    if found.kind in ("top5", "error", "precision", "recall", "f1") and not found.split:
        return None
    return "epoch" if found.kind == "epoch" else row_key(found)
