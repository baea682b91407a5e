"""Rules on the metrics that a table prints of one row, under every reading that the row allows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cifar_hpc.collection.reproduction import Averages, Row
from cifar_hpc.verify.forensics.finding import Broken, Finding, Strength
from cifar_hpc.verify.forensics.joint import decide, reach
from cifar_hpc.verify.forensics.logs import LOG_RULES
from cifar_hpc.verify.forensics.printed import Interval, share
from cifar_hpc.verify.forensics.quantities import QUANTITY_RULES
from cifar_hpc.verify.forensics.question import METRICS, Metric, Question
from cifar_hpc.verify.forensics.readings import RARE, Reading, chance, least_batch, reading

KEYS: dict[Metric, str] = {
    "accuracy": "test_accuracy_percent",
    "precision": "precision_percent",
    "recall": "recall_percent",
    "f1": "f1_percent",
}
WORDS: dict[Metric, str] = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}


def printed_metrics(row: Row) -> dict[Metric, float]:
    """What the row prints of the test set, in percent."""
    values = {metric: getattr(row.reproduction.reported, key) for metric, key in KEYS.items()}
    return {metric: value for metric, value in values.items() if value is not None}


def recall_is_accuracy(row: Row) -> Iterator[Broken]:
    """Recall equals accuracy on a balanced test set.

    Proof: with n images in each of C classes, mean over classes of (hits / n) = (all hits) / (C n). That is the
    macro average; the micro and the weighted average equal accuracy on any test set, the weighted one in each batch
    too. Means over runs are equal too.
    Means over batches need not be: where nobody says what was averaged, it is asked in what share of honest rows they
    are as far apart. Precision and recall at a threshold of one half, as Keras has them, lie on both sides of accuracy.
    """
    printed, test_set, read = printed_metrics(row), row.test_set, reading(row)
    if test_set is None or not {"recall", "accuracy"} <= printed.keys():
        return
    weighted = read.averages == ("weighted",)
    if read.over == "batches" and not weighted:
        return
    balanced = _is_balanced(row)
    if not balanced and set(read.averages) & {"macro"}:
        return
    recall, accuracy = share(printed["recall"]), share(printed["accuracy"])
    if recall[1] >= accuracy[0] and accuracy[1] >= recall[0]:
        return
    numbers = {KEYS[metric]: printed[metric] for metric in ("recall", "accuracy")}
    what = "recall" if balanced else f"{read.averages[0]} recall"
    sentence = f"{what} must equal accuracy{' on a balanced test set' * balanced}, but {printed['recall']} is not "
    sentence += str(printed["accuracy"])
    exact = read.over == "images" or weighted
    rare = 0.0 if exact else chance(accuracy, recall, test_set.images, test_set.classes, read.batch)
    if rare >= RARE:
        return
    if "micro" in read.averages and _counts_sure_answers(printed):
        unless = "unless precision and recall count probabilities above one half, as Keras' do"
        yield numbers, f"{sentence}, {unless}", "unusual"
    elif exact:
        yield numbers, sentence, "impossible"
    else:
        least = least_batch(accuracy, recall, test_set.images)
        unless = "" if least is None else f"averages over batches of {read.batch or 'a usual size'} do so in "
        unless += "" if least is None else _share(rare) + " of honest rows, and an accuracy over batches "
        unless += "" if least is None else f"can only where they hold at least {least}"
        yield numbers, f"{sentence}: {unless or 'no averaging over batches of up to 4096 explains it'}", "unlikely"


def _counts_sure_answers(printed: dict[Metric, float]) -> bool:
    """Whether precision is above accuracy and recall below, as where answers below a probability do not count."""
    precision = printed.get("precision")
    return precision is not None and precision > printed["accuracy"] > printed["recall"]


def _is_balanced(row: Row) -> bool:
    sizes = row.test_set.sizes if row.test_set else None
    return sizes is not None and len(set(sizes)) == 1


def _share(part: float) -> str:
    return "fewer than 1 in 10,000" if part < 1e-4 else f"{100 * part:.2g} %"


def f1_is_bounded(row: Row) -> Iterator[Broken]:
    """F1 lies between P + R - 1 and 2 P R / (P + R), of average precision P and average recall R.

    Proof: a class' F1 is the harmonic mean h(p, r). It is concave, so by Jensen the mean of h is at most h of the
    means. And h(p, r) >= min(p, r) >= p + r - 1, since the greater is at most 1; take means. That holds whatever the
    weights are, over classes, batches or runs, as long as all three have the same. On a balanced test set macro and
    weighted averages are one; elsewhere a row that does not say its average may have mixed them.
    """
    printed, read = printed_metrics(row), reading(row)
    if not {"precision", "recall", "f1"} <= printed.keys():
        return
    one_average = _is_balanced(row) or len(read.averages) == 1
    strength: Strength = "impossible" if one_average else "unusual"
    name = f"{read.averages[0]} " if len(read.averages) == 1 else ""
    unless = "" if one_average else ", unless the three are averaged with different weights"
    numbers = {KEYS[metric]: printed[metric] for metric in ("f1", "precision", "recall")}
    precision, recall, f1 = (share(printed[metric]) for metric in ("precision", "recall", "f1"))
    greatest = harmonic(precision[1], recall[1])
    if f1[0] > greatest:
        yield (
            numbers,
            f"{name}F1 cannot exceed the harmonic mean of precision and recall, but {printed['f1']} exceeds "
            f"{100 * float(greatest):.2f}{unless}",
            strength,
        )
    least = precision[0] + recall[0] - 1
    if f1[1] < least:
        yield (
            numbers,
            f"{name}F1 is at least precision plus recall minus 100 %, but {printed['f1']} is below "
            f"{100 * float(least):.2f}{unless}",
            strength,
        )


def harmonic(precision: Fraction, recall: Fraction) -> Fraction:
    """Harmonic mean of two shares."""
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def accuracy_counts_images(row: Row) -> Iterator[Broken]:
    """An accuracy or error over N images is a multiple of 1 / N, and a mean over k runs of 1 / (k N).

    Proof: it is the number of right or wrong answers, a whole number, divided by N. Those of the test set are looked at
    where the row says that they are over images, or over how many runs. Of a training log's accuracies it is known how
    many images they are over when the batch divides the training set, as then the mean over batches is the mean over
    images; the batch must be the report's own. A log that does not say so may be a mean over runs: `unlikely`.
    """
    group, data, read = row.reproduction, row.config.get("data", {}), reading(row)
    printed: list[tuple[float | None, int, str]] = []
    if row.test_set is not None and read.over == "images":
        if read.runs is not None:
            images = row.test_set.images * read.runs
            printed += [
                (group.reported.test_accuracy_percent, images, "test accuracy"),
                (group.reported.top5_accuracy_percent, images, "top-5 accuracy"),
                (group.reported.error_percent, images, "test error"),
            ]
        if read.runs == 1:
            images, curve = row.test_set.images, group.reported.curve
            printed += [(point.test_accuracy_percent, images, "test accuracy") for point in curve]
    train_images = row.train_images
    origin = group.settings.get("batch_size")
    certain = origin is None or origin.origin in ("stated", "code")
    if "data" in row.config and certain and train_images % data.get("batch_size", train_images) == 0:
        if read.over == "images" and read.runs is not None:
            printed.append((group.reported.train_accuracy_percent, train_images * read.runs, "training accuracy"))
        if (read.runs is None and read.over == "unknown") or (read.runs == 1 and read.over == "images"):
            curve = group.reported.curve
            printed += [(point.train_accuracy_percent, train_images, "training accuracy") for point in curve]
    for value, images, name in dict.fromkeys(printed):
        if value is not None and not is_multiple(share(value), images):
            kind = name.split()[-1]
            yield (
                {f"{kind}_percent": value, "images": images},
                f"an {kind} over {images:,} images is a multiple of {100 / images:g} %, but the {name} {value} is none",
                "impossible" if read.over == "images" else "unlikely",
            )


def is_multiple(accuracy: Interval, images: int) -> bool:
    """Whether some whole number of images prints so."""
    return ceil(accuracy[0] * images) <= floor(accuracy[1] * images)


def question(row: Row, averages: Averages, runs: int | None = 1) -> Question | None:
    """What one confusion matrix, or the mean of several, must print; null where nobody says how large the classes are.

    Micro averages are all equal to accuracy, so they are one number.
    """
    sizes = row.test_set.sizes if row.test_set else None
    if sizes is None:
        return None
    shares = {metric: share(value) for metric, value in printed_metrics(row).items()}
    if averages == "micro":
        common = max(low for low, _ in shares.values()), min(high for _, high in shares.values())
        shares = {"accuracy": common}
    return Question(sizes, **shares, weighted=averages == "weighted", runs=runs)


def impossible(row: Row, read: Reading) -> bool:
    """Whether no matrix, and no mean over the row's runs, prints so under any average that the row allows."""
    asked = {question(row, averages, read.runs) for averages in read.averages}
    return None not in asked and all(_refuted(one) for one in asked if one is not None)


def _refuted(asked: Question) -> bool:
    low, high = asked.accuracy or (Fraction(0), Fraction(1))
    return low > high or decide(asked, search=False).kind == "impossible"


def one_confusion_matrix(row: Row) -> Iterator[Broken]:
    """All metrics of a row come from one confusion matrix, or from one for each run.

    Proof: see `cifar_hpc.verify.forensics.joint`. It speaks where no simpler rule does, and under one reading: the
    averages over images, as the row says, or over its runs.
    """
    printed, read = printed_metrics(row), reading(row)
    if len(printed) < 2 or row.test_set is None or read.over != "images":
        return
    simpler = (recall_is_accuracy, f1_is_bounded, accuracy_counts_images)
    if any(next(rule(row), None) for rule in simpler) or not impossible(row, read):
        return
    sizes = row.test_set.sizes or ()
    numbers = {KEYS[metric]: printed[metric] for metric in METRICS if metric in printed}
    told = ", ".join(f"{WORDS[metric]} {value}" for metric, value in printed.items())
    matrices = f"{len(sizes)} × {len(sizes)} matrix over {sum(sizes):,} images has"
    if read.runs != 1:
        matrices = f"mean over {read.runs or 'any number of'} such runs has"
    known = "" if len(read.averages) > 1 else f"{read.averages[0]} averages with "
    yield numbers, f"no {matrices} {known}{told}{_between(row, read)}", "impossible"


def _between(row: Row, read: Reading) -> str:
    """Between what one of the numbers must lie when the others are as printed, if that alone shows it."""
    asked = question(row, "macro" if "macro" in read.averages else read.averages[0], read.runs)
    assert asked is not None
    for metric in ("f1", "precision", "recall", "accuracy"):
        printed = getattr(asked, metric)
        if printed is None or (ends := reach(asked, metric)) is None:
            continue
        if printed[0] > ends[1] or printed[1] < ends[0]:
            low, high = (100 * end for end in ends)
            return f"; with the others as printed, {WORDS[metric]} lies between {low:.3f} and {high:.3f}"
    return "; all of them were tried"


def f1_fits_accuracy(row: Row) -> Iterator[Broken]:
    """Where recall is not printed, accuracy stands for it: F1 is bounded by precision and accuracy.

    As `f1_is_bounded`, with the recall that is at most as far from the accuracy as averages over batches bring it in
    one of a hundred honest rows.
    """
    printed, test_set, read = printed_metrics(row), row.test_set, reading(row)
    if test_set is None or not _is_balanced(row) or "recall" in printed:
        return
    if read.over != "unknown" or not {"accuracy", "precision", "f1"} <= printed.keys():
        return
    accuracy, precision, f1 = (share(printed[metric]) for metric in ("accuracy", "precision", "f1"))
    # The recall nearest to the accuracy with which F1 is within its bounds.
    recall: Interval | None = None
    if f1[0] > harmonic(precision[1], accuracy[1]):
        needed = precision[1] * f1[0] / (2 * precision[1] - f1[0]) if 2 * precision[1] > f1[0] else Fraction(2)
        recall = (needed, Fraction(1)) if needed <= 1 else None
    elif f1[1] < precision[0] + accuracy[0] - 1:
        recall = (Fraction(0), 1 + f1[1] - precision[0])
    else:
        return
    if recall is not None:
        near = recall[0] if recall[0] > accuracy[1] else recall[1]
        if chance(accuracy, (near, near), test_set.images, test_set.classes, read.batch) >= RARE:
            return
    numbers = {KEYS[metric]: printed[metric] for metric in ("f1", "precision", "accuracy")}
    yield (
        numbers,
        f"recall is about the accuracy on a balanced test set, but none near {printed['accuracy']} gives F1 "
        f"{printed['f1']} with precision {printed['precision']}, whatever was averaged",
        "unlikely",
    )


METRIC_RULES: tuple[Callable[[Row], Iterator[Broken]], ...] = (
    recall_is_accuracy,
    f1_is_bounded,
    accuracy_counts_images,
    one_confusion_matrix,
    f1_fits_accuracy,
)
ROW_RULES = (*METRIC_RULES, *QUANTITY_RULES, *LOG_RULES)


def audit_row(row: Row) -> list[Finding]:
    """What the rules on single rows find."""
    group, read = row.reproduction, reading(row)
    return [
        Finding(
            group.report or "",
            group.name,
            group.where,
            rule.__name__,
            numbers,
            sentence,
            strength,
            (group.name,),
            reading=_reading(rule, read, strength),
        )
        for rule in ROW_RULES
        for numbers, sentence, strength in rule(row)
    ]


def _reading(rule: Callable[[Row], Iterator[Broken]], read: Reading, strength: Strength) -> str:
    if rule not in METRIC_RULES or strength != "impossible":
        return ""
    if rule is f1_is_bounded or read.over == "unknown":
        return "under all readings"
    return f"as stated: {read}, {read.averages[0] if len(read.averages) == 1 else 'any'} averages"


@dataclass(frozen=True)
class Answer:
    """Whether a row's metrics are possible.

    Attributes:
        row: id.
        answer: `possible` with a witness, `impossible` as a finding says, or `undecided`.
        reading: of the witness.
        hits: of each class, in the witness; a confusion matrix with these is `joint.matrix`.
        predicted: how often each class is predicted, in the witness.
    """

    row: str
    answer: str
    reading: str = ""
    hits: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()


def answer(row: Row, found: Sequence[Finding]) -> Answer | None:
    """Whether one matrix prints so, or what else is known; null where less than two metrics are printed.

    Args:
        row: any.
        found: in its report.
    """
    read = reading(row)
    if len(printed_metrics(row)) < 2 or row.test_set is None or row.test_set.sizes is None:
        return None
    name = row.reproduction.name
    metric_rules = {rule.__name__ for rule in METRIC_RULES}
    if any(f.row == name and f.strength == "impossible" and f.rule in metric_rules for f in found):
        return Answer(name, "impossible")
    for averages in read.averages if read.over != "batches" else ():
        asked = question(row, averages)
        if asked is not None and averages != "micro" and (told := decide(asked)).kind == "possible":
            return Answer(name, told.kind, f"{averages} averages over images", told.hits, told.predicted)
    return Answer(name, "undecided")


def not_judged(row: Row) -> str:
    """Why the row's metrics are not judged, for want of knowing the test set; empty where they are."""
    reported = row.reproduction.reported
    others = (reported.error_percent, reported.top5_accuracy_percent)
    if row.test_set is not None or not (printed_metrics(row) or any(value is not None for value in others)):
        return ""
    return "held against no test set, as neither a dataset nor test_set: {images, classes, class_images} is named"
