"""Usual slips, and which of them would explain all digits of a row that is impossible, unlikely or odd."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil, floor
from typing import Any, cast, get_args

from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify.forensics.finding import Broken, Slip
from cifar_hpc.verify.forensics.joint import decide, reach
from cifar_hpc.verify.forensics.printed import decimals, share
from cifar_hpc.verify.forensics.quantities import error_is_the_rest, top5_holds_top1
from cifar_hpc.verify.forensics.question import MatrixMetric, Question
from cifar_hpc.verify.forensics.readings import (
    RARE,
    USUAL_BATCHES,
    Absent,
    chance_of_accuracy,
    chance_of_recall,
    reading,
)
from cifar_hpc.verify.forensics.tables import (
    KEYS,
    METRIC_RULES,
    WORDS,
    harmonic,
    one_confusion_matrix,
    printed_metrics,
    question,
)

BY_CHANCE = {
    "F1 as harmonic mean of the averages": 130,
    "micro averages": 44,
    "weighted averages": 170,
    "macro averages": 0,
    "precision and recall exchanged": 3400,
    "two digits exchanged": 9800,
    "one digit wrong": 10000,
    "a value copied from another row or epoch": 0,
    "per-batch averages": 0,
    "drop_last": 0,
    "training accuracy": 0,
    "top-5 accuracy": 0,
}
"""Of 10,000 honest rows that print all four metrics at two decimals, how many the slip's digits fit as well as the
honest reading: as drawn by `make audit-study`, which holds this table against what it counts. A 0 was not seen."""

ODD = ("F1 as harmonic mean of the averages", "micro averages", "weighted averages")
"""Slips that are worth a hint where no rule is broken: hardly an honest row shows them."""


MOST_TELLING = 95.0
"""Percent up to which these can be told: averages of nearly perfect classes hardly differ, however they are taken."""

SMALL = 30
"""Images up to which a changed number is held against all matrices, not against the hull alone."""


class Case:
    """A row, and what each of its numbers could be if the others are right."""

    def __init__(self, row: Row, others: Sequence[Row] = ()) -> None:
        self.row, self.others, self.read = row, others, reading(row)
        self.printed = printed_metrics(row)
        averages = self.read.averages[0] if len(self.read.averages) == 1 else "macro"
        self.averages = averages
        self.over_images = self.read.over == "images"
        runs = self.read.runs if self.over_images else None
        self.question: Question | None = question(row, averages, runs) if self.printed else None

    def keeps_the_rules(self, **changed: Any) -> bool:
        """Checks whether the row breaks no simple rule with other values; nor what ties accuracy to error and top-5."""
        group = self.row.reproduction
        row = replace(self.row, reproduction=replace(group, reported=replace(group.reported, **changed)))
        return not any(next(rule(row), None) for rule in _SIMPLE_RULES)

    @cached_property
    def possible(self) -> bool:
        """Whether the row breaks no rule."""
        return self.keeps_the_rules() and next(one_confusion_matrix(self.row), None) is None

    @cached_property
    def spans(self) -> dict[MatrixMetric, tuple[float, float]]:
        """Between what each metric lies when the others are as printed; left out where these are impossible."""
        found: dict[MatrixMetric, tuple[float, float]] = {}
        for metric in self.printed:
            if not self.keeps_the_rules(**{KEYS[metric]: None}):
                continue
            # Where all matrices need not be over the same images there is no more to hold them to.
            ends = reach(self.question, metric) if self.over_images and self.question else (0.0, 1.0)
            if ends is not None:
                found[metric] = ends[0] - 1e-9, ends[1] + 1e-9
        return found

    @property
    def most_accuracy(self) -> float | None:
        """The most that the accuracy can be, as far as the others say; null where they are impossible."""
        if "accuracy" not in self.spans:
            return None
        shares = {metric: share(value) for metric, value in self.printed.items()}
        most = self.spans["accuracy"][1]
        if self.over_images:
            return most
        if "recall" in shares:
            return float(shares["recall"][1])
        if not {"f1", "precision"} <= set(shares):
            return 1.0
        return min(float(1 + shares["f1"][1] - shares["precision"][0]), 1.0)  # by `f1_is_bounded`

    def could_be(self, metric: MatrixMetric, value: float) -> bool:
        """Checks whether the row is possible with another value of one metric."""
        if metric not in self.spans or not 0 <= value <= 100:
            return False
        low, high = share(value)
        if low > self.spans[metric][1] or high < self.spans[metric][0]:
            return False
        if not self.keeps_the_rules(**{KEYS[metric]: value}):
            return False
        asked, changed = self.question, {metric: (low, high)}
        if not self.over_images or asked is None or asked.images > SMALL:
            return True
        return self.fits(replace(asked, **cast(Any, changed)))

    def fits(self, changed: Question | None) -> bool:
        """Checks whether a row with other numbers is possible, as far as the hull says."""
        return changed is not None and decide(changed, search=False).kind != "impossible"

    def told(self, metric: MatrixMetric) -> str:
        """Writes a metric as it is printed."""
        return f"{WORDS[metric]} {self.printed[metric]}"


_SIMPLE_RULES: tuple[Callable[[Row], Iterator[Broken]], ...] = (
    *(rule for rule in METRIC_RULES if rule is not one_confusion_matrix),
    error_is_the_rest,
    top5_holds_top1,
)


def explanations(row: Row, others: Sequence[Row] = ()) -> tuple[Slip, ...]:
    """Finds the slips that explain all printed digits of the row, those first that are rarest by chance.

    Args:
        row: one whose metrics are impossible, or unlikely.
        others: rows of the same report, from which a value may have been copied.
    """
    case = Case(row, others)
    if not case.keeps_the_rules(**dict.fromkeys(KEYS.values())):  # another number is wrong: a log's, or the error
        return ()
    found = [Slip(slip, sentence, BY_CHANCE[slip]) for slip, sentence in _all(case)]
    # One that needs a broken rule says nothing by being rare: it stands before what fits half of all rows.
    return tuple(sorted(found, key=lambda slip: slip.by_chance or 5000))


def odd(row: Row) -> tuple[Slip, ...]:
    """Finds the slips which a row shows that breaks no rule, and which honest rows hardly show."""
    case = Case(row)
    if not case.printed or max(map(decimals, case.printed.values())) < 2 or max(case.printed.values()) > MOST_TELLING:
        return ()
    found = [*_harmonic(case), *_micro(case), *_weighted_recall(case)]
    return tuple(Slip(slip, sentence, BY_CHANCE[slip]) for slip, sentence in found if slip in ODD)


def _all(case: Case) -> Iterator[tuple[str, str]]:
    for slip in SLIPS:
        yield from slip(case)


def _harmonic(case: Case) -> Iterator[tuple[str, str]]:
    p, r, f = (case.printed.get(metric) for metric in ("precision", "recall", "f1"))
    if p is None or r is None or f is None or str(p) == str(r):
        return
    low, high = (harmonic(share(p)[k], share(r)[k]) for k in (0, 1))
    exact = 2 * float(p) * float(r) / (float(p) + float(r)) if p + r else 0.0
    if low <= share(f)[1] and share(f)[0] <= high and abs(exact - f) <= 10.0 ** -decimals(f) and "f1" in case.spans:
        yield (
            "F1 as harmonic mean of the averages",
            f"2 · {p} · {r} / ({p} + {r}) = {exact:.{decimals(f) + 2}f}: F1 would come from the two averages, not "
            "from the classes",
        )


def _micro(case: Case) -> Iterator[tuple[str, str]]:
    if len(case.printed) < 3 or case.averages == "micro":
        return
    if len(set(map(str, case.printed.values()))) == 1 and case.keeps_the_rules(averages="micro"):
        yield "micro averages", "precision, recall, F1 and accuracy are one number, as micro averages are"


def _weighted(case: Case) -> Iterator[tuple[str, str]]:
    if case.question is None or len(set(case.question.sizes)) == 1:
        return
    for averages in ("weighted", "macro"):
        fits = averages != case.averages and case.fits(question(case.row, averages, case.question.runs))
        if fits and case.keeps_the_rules(averages=averages):
            yield f"{averages} averages", f"as {averages} averages the numbers are possible"


def _weighted_recall(case: Case) -> Iterator[tuple[str, str]]:
    """Finds weighted recall: on an unbalanced test set it is the accuracy, and macro recall hardly ever."""
    accuracy, recall = (case.printed.get(metric) for metric in ("accuracy", "recall"))
    if case.averages == "weighted" or accuracy is None or recall is None or len(set(case.printed.values())) == 1:
        return
    if case.question is not None and len(set(case.question.sizes)) > 1 and digits(accuracy) == digits(recall):
        yield "weighted averages", f"recall {recall} is the accuracy, as weighted recall is, and macro recall is not"


def _exchanged(case: Case) -> Iterator[tuple[str, str]]:
    asked = case.question
    if asked is None or asked.precision is None or asked.recall is None or asked.precision == asked.recall:
        return
    swapped = replace(asked, precision=asked.recall, recall=asked.precision)
    precision, recall = case.printed["recall"], case.printed["precision"]
    kept = case.keeps_the_rules(precision_percent=precision, recall_percent=recall)
    if kept and (not case.over_images or case.fits(swapped)):
        yield (
            "precision and recall exchanged",
            f"with precision {precision} and recall {recall} the numbers are possible",
        )


def digits(printed: float) -> str:
    """Writes a number as it is printed."""
    return printed.text if isinstance(printed, Printed) else repr(printed)


def _digits_exchanged(case: Case) -> Iterator[tuple[str, str]]:
    for metric, value in case.printed.items():
        text = digits(value)
        places = [k for k, c in enumerate(text) if c.isdigit()]
        for a, b in pairwise(places):
            swapped = list(text)
            swapped[a], swapped[b] = text[b], text[a]
            if text[a] != text[b] and case.could_be(metric, Printed("".join(swapped))):
                yield "two digits exchanged", f"{case.told(metric)} for {''.join(swapped)}"
                break


def _one_digit(case: Case) -> Iterator[tuple[str, str]]:
    for metric, value in case.printed.items():
        text = digits(value)
        changed = [
            text[:k] + digit + text[k + 1 :]
            for k, c in enumerate(text)
            for digit in "0123456789"
            if c.isdigit() and digit != c
        ]
        right = [t for t in changed if case.could_be(metric, Printed(t))]
        if right:
            more = f" or {len(right) - 1} others" if len(right) > 1 else ""
            yield "one digit wrong", f"{case.told(metric)} for {right[0]}{more}"


def _copied(case: Case) -> Iterator[tuple[str, str]]:
    slip = "a value copied from another row or epoch"
    own = {m: digits(v) for m, v in case.printed.items() if m in case.spans and decimals(v) >= 2}
    told = set()
    for other in case.others:
        if other.reproduction.name == case.row.reproduction.name:
            continue
        for name, same in printed_metrics(other).items():
            for metric, text in own.items():
                if text == digits(same) and metric not in told:
                    told.add(metric)
                    place = other.reproduction.where or other.reproduction.name
                    yield slip, f"{case.told(metric)} is the {WORDS[name]} of {place}"
    for point in case.row.reproduction.reported.curve[:-1]:
        earlier = point.test_accuracy_percent
        if earlier is not None and own.get("accuracy") == digits(earlier) and "accuracy" not in told:
            told.add("accuracy")
            yield slip, f"{case.told('accuracy')} is that of epoch {point.epoch}"


def _batches(case: Case) -> Iterator[tuple[str, str]]:
    asked = case.question
    if asked is None or asked.accuracy is None or not case.over_images or case.possible:
        return
    if not case.keeps_the_rules(averaged_over="batches"):
        return
    for batch in USUAL_BATCHES:
        likely = 0.0
        if "accuracy" in case.spans:  # the accuracy alone is over batches
            low, high = (Fraction(end) for end in case.spans["accuracy"])
            likely = chance_of_accuracy(asked.accuracy, (low, high), asked.images, batch)
        if asked.recall_is_accuracy and asked.recall is not None:
            apart = asked.accuracy, asked.recall, asked.images, len(asked.sizes), batch
            likely = max(likely, *(chance_of_recall(*apart, absent) for absent in get_args(Absent)))
        if likely >= RARE:
            yield "per-batch averages", f"averaged over batches of {batch}, which is not over images, they are possible"
            return


def _drop_last(case: Case) -> Iterator[tuple[str, str]]:
    asked, accuracy = case.question, case.printed.get("accuracy")
    if asked is None or accuracy is None or asked.runs != 1 or "accuracy" not in case.spans or case.possible:
        return
    least, most = (asked.images * end for end in case.spans["accuracy"])
    low, high = share(accuracy)
    for batch in USUAL_BATCHES:
        left = asked.images - asked.images % batch
        fewest, greatest = ceil(low * left), floor(high * left)
        # The images of the last batch may be right or wrong.
        fits = fewest <= greatest and fewest <= most and greatest + asked.images - left >= least
        if 0 < left < asked.images and fits:
            yield "drop_last", f"{accuracy} % is {fewest:,} of {left:,} images, without the last batch of {batch}"
            return


def _training(case: Case) -> Iterator[tuple[str, str]]:
    accuracy = case.printed.get("accuracy")
    most = case.most_accuracy
    if accuracy is None or most is None or case.possible:
        return
    reported = case.row.reproduction.reported
    trained = [reported.train_accuracy_percent, *(point.train_accuracy_percent for point in reported.curve)]
    if any(digits(accuracy) == digits(value) for value in trained if value is not None):
        yield "training accuracy", f"{case.told('accuracy')} is the printed training accuracy"
    elif share(accuracy)[0] > most:
        yield "training accuracy", f"{case.told('accuracy')} is more than the other numbers allow, {100 * most:.2f}"


def _top5(case: Case) -> Iterator[tuple[str, str]]:
    accuracy, most = case.printed.get("accuracy"), case.most_accuracy
    if accuracy is None or case.question is None or len(case.question.sizes) <= 5 or most is None:
        return
    if 1 - share(accuracy)[0] < (1 - most) / 2:
        yield "top-5 accuracy", f"{case.told('accuracy')} leaves less than half the mistakes of the other numbers"


SLIPS = (
    _harmonic,
    _micro,
    _weighted,
    _exchanged,
    _digits_exchanged,
    _one_digit,
    _copied,
    _batches,
    _drop_last,
    _training,
    _top5,
)
