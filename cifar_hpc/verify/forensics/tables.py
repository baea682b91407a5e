"""Rules on the metrics that a table prints of one row, under every reading that the row allows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cifar_hpc.collection.reproduction import Averages, Row
from cifar_hpc.verify.forensics.finding import Broken, Finding, Strength
from cifar_hpc.verify.forensics.joint import SMALL_SET, decide, reach
from cifar_hpc.verify.forensics.logs import LOG_RULES
from cifar_hpc.verify.forensics.printed import Interval, bounds, differ, share
from cifar_hpc.verify.forensics.quantities import QUANTITY_RULES
from cifar_hpc.verify.forensics.question import MATRIX_METRICS, MatrixMetric, Question
from cifar_hpc.verify.forensics.readings import RARE, Reading, chance, least_batch, reading

KEYS: dict[MatrixMetric, str] = {
    "accuracy": "test_accuracy_percent",
    "precision": "precision_percent",
    "recall": "recall_percent",
    "f1": "f1_percent",
}
WORDS: dict[MatrixMetric, str] = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}


def printed_metrics(row: Row) -> dict[MatrixMetric, float]:
    """Collects what the row prints of the test set, in percent."""
    values = {metric: getattr(row.reproduction.reported, key) for metric, key in KEYS.items()}
    return {metric: value for metric, value in values.items() if value is not None}


def recall_is_accuracy(row: Row) -> Iterator[Broken]:
    """Checks that recall equals accuracy on a balanced test set.

    Proof: with n images in each of C classes, mean over classes of (hits / n) = (all hits) / (C n). That is the
    macro average; the micro and the weighted average equal the share of right answers on any test set. Means over runs
    are equal too. Two things undo it. Means over batches need not be equal: where they are not ruled out, it is
    asked in what share of honest rows they are as far apart. And on an unbalanced test set an accuracy may be the mean
    of the classes' recalls. Precision and recall at a threshold of one half, as Keras has them, lie on both sides of
    accuracy.
    """
    printed, test_set, read = printed_metrics(row), row.test_set, reading(row)
    if test_set is None or not {"recall", "accuracy"} <= printed.keys():
        return
    balanced = _is_balanced(row)
    if "macro" in read.averages and (read.over == "batches" or not balanced):
        return
    recall, accuracy = share(printed["recall"]), share(printed["accuracy"])
    if recall[1] >= accuracy[0] and accuracy[1] >= recall[0]:
        return
    numbers = {KEYS[metric]: printed[metric] for metric in ("recall", "accuracy")}
    what = "recall" if balanced else f"{read.averages[0]} recall"
    sentence = f"{what} must equal accuracy{' on a balanced test set' * balanced}, but {printed['recall']} is not "
    sentence += str(printed["accuracy"])
    exact = read.over == "images" or not balanced
    rare = 0.0 if exact else chance(accuracy, recall, test_set.images, test_set.classes, read.batch)
    if rare >= RARE:
        return
    if "micro" in read.averages and _counts_sure_answers(printed):
        yield numbers, f"{sentence}, {_SURE}", "unusual"
    elif not balanced:
        yield numbers, f"{sentence}, {_MEAN_RECALL}", "unusual"
    elif exact:
        yield numbers, sentence, "impossible"
    else:
        least = least_batch(accuracy, recall, test_set.images)
        unless = "" if least is None else f"averages over batches of {read.batch or 'a usual size'} do so in "
        unless += "" if least is None else _share(rare) + " of honest rows, and an accuracy over batches "
        unless += "" if least is None else f"can only where they hold at least {least}"
        yield numbers, f"{sentence}: {unless or 'no averaging over batches of up to 4096 explains it'}", "unlikely"


_SURE = "unless precision and recall count probabilities above one half, as Keras' do"
_MEAN_RECALL = "unless that accuracy is the mean of the classes' recalls, as torchmetrics' is with average=\"macro\""


def micro_averages_are_equal(row: Row) -> Iterator[Broken]:
    """Checks that micro averages of precision, recall and F1 are one number.

    Proof: with one answer for each image, all hits / all predictions and all hits / all images are both the share of
    right answers, and F1 is their harmonic mean. That holds in each batch and each run, so for means over them.
    """
    read, printed = reading(row), printed_metrics(row)
    printed.pop("accuracy", None)
    if read.averages != ("micro",) or len(printed) < 2 or next(recall_is_accuracy(row), None):
        return
    shares = [share(value) for value in printed.values()]
    if max(low for low, _ in shares) > min(high for _, high in shares):
        told = ", ".join(f"{WORDS[metric]} {value}" for metric, value in printed.items())
        sure = _counts_sure_answers(printed)
        yield (
            {KEYS[metric]: value for metric, value in printed.items()},
            f"micro averages are one number, but {told} are not{', ' * sure}{_SURE * sure}",
            "unusual" if sure else "impossible",
        )


def _counts_sure_answers(printed: dict[MatrixMetric, float]) -> bool:
    """Checks whether all else lies between precision and recall, as where answers below a probability do not count."""
    precision, recall = printed.get("precision"), printed.get("recall")
    between = [value for metric, value in printed.items() if metric in ("accuracy", "f1")]
    return precision is not None and recall is not None and all(precision > value > recall for value in between)


def _is_balanced(row: Row) -> bool:
    sizes = row.test_set.sizes if row.test_set else None
    return sizes is not None and len(set(sizes)) == 1


def _averaged_alike(row: Row) -> bool:
    """Checks whether precision, recall and F1 are sure to have the same average.

    A row that says nothing may mix macro and weighted ones, which are the same on a balanced test set alone, or have
    one micro average among macro ones, as where one metric is left at its default: it is then the accuracy.
    """
    if len(reading(row).averages) == 1:
        return True
    shares = {metric: share(value) for metric, value in printed_metrics(row).items()}
    right = [shares[metric] for metric in ("accuracy", "recall") if metric in shares]
    return _is_balanced(row) and not any(
        shares[metric][0] <= high and low <= shares[metric][1]
        for metric in ("precision", "f1")
        if metric in shares
        for low, high in right
    )


_UNALIKE = "unless precision, recall and F1 are averaged in different ways"


def _share(part: float) -> str:
    return "fewer than 1 in 10,000" if part < 1e-4 else f"{100 * part:.2g} %"


def f1_is_bounded(row: Row) -> Iterator[Broken]:
    """Checks that F1 lies between P + R - 1 and 2 P R / (P + R), of average precision P and average recall R.

    Proof: a class' F1 is the harmonic mean h(p, r). It is concave, so by Jensen the mean of h is at most h of the
    means. And h(p, r) >= min(p, r) >= p + r - 1, since the greater is at most 1; take means. That holds whatever the
    weights are, over classes, batches or runs, as long as all three have the same.
    """
    printed, read = printed_metrics(row), reading(row)
    if not {"precision", "recall", "f1"} <= printed.keys():
        return
    alike = _averaged_alike(row)
    strength: Strength = "impossible" if alike else "unusual"
    name = f"{read.averages[0]} " if len(read.averages) == 1 else ""
    unless = "" if alike else f", {_UNALIKE}"
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
    """Computes the harmonic mean of two shares."""
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def accuracy_counts_images(row: Row) -> Iterator[Broken]:
    """Checks that an accuracy or error over N images is a multiple of 1 / N, a mean over k runs one of 1 / (k N).

    Proof: it is the number of right or wrong answers, a whole number, divided by N. Those of the test set are looked at
    where the row says that they are over images, or over how many runs. Of a training log's accuracies it is known how
    many images they are over when the batch divides the training set, as then the mean over batches is the mean over
    images; the batch must be the report's own. The mean of the classes' recalls is no such number where classes differ
    in size, nor is its mean over batches: there it is `unusual`, and nothing where recall is that accuracy.
    """
    group, data, read = row.reproduction, row.config.get("data", {}), reading(row)
    reported, balanced = group.reported, _is_balanced(row)
    printed: list[tuple[float | None, int, str, bool]] = []
    if row.test_set is not None and read.over == "images":
        accuracy, recall = reported.test_accuracy_percent, reported.recall_percent
        same = None not in (accuracy, recall) and not differ(bounds(accuracy or 0), bounds(recall or 0))
        if read.runs is not None and (balanced or not same):
            images = row.test_set.images * read.runs
            printed += [
                (accuracy, images, "test accuracy", balanced),
                (reported.top5_accuracy_percent, images, "top-5 accuracy", balanced),
                (reported.error_percent, images, "test error", balanced),
            ]
        if read.runs == 1:
            images = row.test_set.images
            printed += [(point.test_accuracy_percent, images, "test accuracy", balanced) for point in reported.curve]
    train_images = row.train_images
    origin = group.settings.get("batch_size")
    certain = origin is None or origin.origin in ("stated", "code")
    if "data" in row.config and certain and train_images % data.get("batch_size", train_images) == 0:
        exact = read.over == "images" and not data.get("holdout_images")
        if read.over == "images" and read.runs is not None:
            printed.append((reported.train_accuracy_percent, train_images * read.runs, "training accuracy", exact))
        if (reported.averaged_over == "unknown" and read.runs is None) or (read.runs == 1 and read.over == "images"):
            curve = reported.curve
            printed += [(point.train_accuracy_percent, train_images, "training accuracy", exact) for point in curve]
    for value, images, name, exact in dict.fromkeys(printed):
        if value is not None and not is_multiple(share(value), images):
            kind = name.split()[-1]
            yield (
                {f"{kind}_percent": value, "images": images},
                f"an {kind} over {images:,} images is a multiple of {100 / images:g} %, but the {name} {value} is none"
                + (f", {_MEAN_RECALL}" if not exact else ""),
                "impossible" if exact else "unusual",
            )


def is_multiple(accuracy: Interval, images: int) -> bool:
    """Checks whether some whole number of images prints so."""
    return ceil(accuracy[0] * images) <= floor(accuracy[1] * images)


def question(row: Row, averages: Averages, runs: int | None = 1, mean_recall: bool = False) -> Question | None:
    """Collects what one confusion matrix, or the mean of several, must print; null where class sizes are unknown.

    Micro averages are all equal to the share of right answers, so they are one number.

    Args:
        row: any.
        averages: of precision, recall and F1.
        runs: that the values are means over; null for any number.
        mean_recall: whether accuracy is the mean of the classes' recalls, of which only macro averages say more.
    """
    sizes = row.test_set.sizes if row.test_set else None
    if sizes is None:
        return None
    shares = {metric: share(value) for metric, value in printed_metrics(row).items()}
    if mean_recall and (accuracy := shares.pop("accuracy", None)) and averages == "macro":
        shares["recall"] = _common(accuracy, shares.get("recall", accuracy))
    if averages == "micro":
        shares = {"accuracy": _common(*shares.values())} if shares else {}
    return Question(sizes, **shares, weighted=averages == "weighted", runs=runs)


def _common(*shares: Interval) -> Interval:
    """Intersects these intervals; returns one the wrong way round where they have nothing in common."""
    return max(low for low, _ in shares), min(high for _, high in shares)


def _questions(row: Row, averages: Averages, runs: int | None) -> list[Question]:
    """Collects what a matrix must print for each meaning of accuracy; on a balanced test set both are one."""
    asked = {question(row, averages, runs, mean_recall) for mean_recall in (False, not _is_balanced(row))}
    return [one for one in asked if one is not None]


def impossible(row: Row, read: Reading) -> bool:
    """Checks whether no matrix, and no mean over the row's runs, prints so under any average that the row allows."""
    asked = [one for averages in read.averages for one in _questions(row, averages, read.runs)]
    # Of a small set more than the hull may refute.
    return bool(asked) and all(decide(one, one.images <= SMALL_SET).kind == "impossible" for one in asked)


def one_confusion_matrix(row: Row) -> Iterator[Broken]:
    """Checks that all metrics of a row come from one confusion matrix, or from one for each run.

    Proof: see `cifar_hpc.verify.forensics.joint`. It speaks where no simpler rule does, and under one reading: the
    averages over images, as the row says, or over its runs.
    """
    printed, read = printed_metrics(row), reading(row)
    if len(printed) < 2 or row.test_set is None or read.over != "images":
        return
    simpler = (recall_is_accuracy, micro_averages_are_equal, f1_is_bounded, accuracy_counts_images)
    if any(next(rule(row), None) for rule in simpler) or not impossible(row, read):
        return
    sizes = row.test_set.sizes or ()
    numbers = {KEYS[metric]: printed[metric] for metric in MATRIX_METRICS if metric in printed}
    told = ", ".join(f"{WORDS[metric]} {value}" for metric, value in printed.items())
    matrices = f"{len(sizes)} × {len(sizes)} matrix over {sum(sizes):,} images has"
    if read.runs != 1:
        matrices = f"mean over {read.runs or 'any number of'} such runs has"
    known = "" if len(read.averages) > 1 else f"{read.averages[0]} averages with "
    sentence = f"no {matrices} {known}{told}{_between(row, read)}"
    if _averaged_alike(row):
        yield numbers, sentence, "impossible"
    else:
        yield numbers, f"{sentence}, {_UNALIKE}", "unusual"


def _between(row: Row, read: Reading) -> str:
    """Says between what one of the numbers must lie with the others as printed, where that number alone is at fault."""
    asked = _questions(row, "macro" if "macro" in read.averages else read.averages[0], read.runs)
    metrics: tuple[MatrixMetric, ...] = ("f1", "precision", "recall", "accuracy")
    for metric in metrics[: 4 if len(asked) == 1 else 2]:
        value = printed_metrics(row).get(metric)
        ends = [found for one in asked if (found := reach(one, metric)) is not None]
        if value is None or not ends:
            continue
        low, high = min(least for least, _ in ends), max(most for _, most in ends)
        if share(value)[0] > high or share(value)[1] < low:
            return f"; with the others as printed, {WORDS[metric]} lies between {100 * low:.3f} and {100 * high:.3f}"
    tried = any(decide(one, one.images <= SMALL_SET).by == "trying all" for one in asked)
    return "; all of them were tried" * tried


def f1_fits_accuracy(row: Row) -> Iterator[Broken]:
    """Checks F1 where recall is not printed: accuracy stands for it, and with precision it bounds F1.

    It is `f1_is_bounded` with any recall as near to the accuracy as averages over batches bring it in all but one of
    a hundred honest rows.
    """
    printed, test_set, read = printed_metrics(row), row.test_set, reading(row)
    if test_set is None or not _is_balanced(row) or "recall" in printed:
        return
    if read.over != "unknown" or not {"accuracy", "precision", "f1"} <= printed.keys() or not _averaged_alike(row):
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
    micro_averages_are_equal,
    f1_is_bounded,
    accuracy_counts_images,
    one_confusion_matrix,
    f1_fits_accuracy,
)
METRIC_RULE_NAMES = {rule.__name__ for rule in METRIC_RULES}
ROW_RULES = (*METRIC_RULES, *QUANTITY_RULES, *LOG_RULES)


def audit_row(row: Row) -> list[Finding]:
    """Applies the rules on single rows."""
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
    if rule is f1_is_bounded:
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
    """Decides whether one matrix prints so, as far as is known; null where less than two metrics are printed.

    Args:
        row: any.
        found: in its report.
    """
    read = reading(row)
    if len(printed_metrics(row)) < 2 or row.test_set is None or row.test_set.sizes is None:
        return None
    name = row.reproduction.name
    if any(f.row == name and f.strength == "impossible" and f.rule in METRIC_RULE_NAMES for f in found):
        return Answer(name, "impossible")
    for averages in read.averages if read.over != "batches" else ():
        for mean_recall in (False, True)[: 1 + (averages == "macro" and not _is_balanced(row))]:
            asked = question(row, averages, mean_recall=mean_recall)
            if asked is not None and (told := decide(asked)).kind == "possible":
                what = ", and accuracy as the mean of recalls" * mean_recall
                return Answer(name, told.kind, f"{averages} averages over images{what}", told.hits, told.predicted)
    return Answer(name, "undecided")


def not_judged(row: Row) -> str:
    """Says why the row's metrics are not judged, for want of knowing the test set; empty where they are."""
    reported = row.reproduction.reported
    others = (reported.error_percent, reported.top5_accuracy_percent)
    if row.test_set is not None or not (printed_metrics(row) or any(value is not None for value in others)):
        return ""
    return "held against no test set, as neither a dataset nor test_set: {images, classes, class_images} is named"
