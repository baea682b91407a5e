"""Usual slips, and which of them would explain all digits of a row that is impossible, unlikely or odd."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from cifar_hpc.collection.reproduction import Row
from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify.forensics.finding import Slip
from cifar_hpc.verify.forensics.joint import decide, reach
from cifar_hpc.verify.forensics.printed import decimals, share
from cifar_hpc.verify.forensics.question import METRICS, Metric, Question
from cifar_hpc.verify.forensics.readings import RARE, USUAL_BATCHES, chance, reading
from cifar_hpc.verify.forensics.tables import WORDS, harmonic, is_multiple, printed_metrics, question

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


MOST_TOLD = 95.0
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
        runs = self.read.runs if self.read.over == "images" else None
        self.question: Question | None = question(row, averages, runs) if self.printed else None

    @cached_property
    def spans(self) -> dict[Metric, tuple[float, float]]:
        """Between what each metric lies when the others are as printed; left out where these are impossible."""
        if self.question is None:
            return {}
        ends = {metric: bounded(self.question, metric) for metric in self.printed}
        if self.read.over == "images":  # else there is no more to hold them to
            ends = {metric: e and reach(self.question, metric) for metric, e in ends.items()}
        return {metric: (e[0] - 1e-9, e[1] + 1e-9) for metric, e in ends.items() if e is not None}

    def could_be(self, metric: Metric, value: float) -> bool:
        """Whether the row is possible with another value of one metric."""
        if metric not in self.spans or not 0 <= value <= 100:
            return False
        low, high = share(value)
        asked = self.question
        if (
            metric == "accuracy"
            and asked is not None
            and asked.runs == 1
            and not is_multiple((low, high), asked.images)
        ):
            return False
        if low > self.spans[metric][1] or high < self.spans[metric][0]:
            return False
        if asked is None or asked.images > SMALL:
            return True
        changed: dict[str, Any] = {metric: (low, high)}
        return self.fits(replace(asked, **changed))

    def fits(self, changed: Question | None) -> bool:
        """Whether a row with other numbers is possible."""
        return changed is not None and decide(changed, search=False).kind != "impossible"

    def told(self, metric: Metric) -> str:
        """A metric as printed."""
        return f"{WORDS[metric]} {self.printed[metric]}"


def bounded(asked: Question, metric: Metric) -> tuple[float, float] | None:
    """Between what a metric lies by `recall_is_accuracy` and `f1_is_bounded` alone, when the others are as printed."""
    whole = (0.0, 1.0)
    known: dict[Metric, tuple[float, float]] = {}
    for name in METRICS:
        ends = None if name == metric else getattr(asked, name)
        known[name] = whole if ends is None else (float(ends[0]), float(ends[1]))
    (p0, p1), (f0, f1) = known["precision"], known["f1"]
    r0, r1 = known["recall"]
    if asked.recall_is_accuracy:
        r0, r1 = max(r0, known["accuracy"][0]), min(r1, known["accuracy"][1])
    elif metric == "accuracy":
        return whole

    def other(average: float, f: float) -> float:
        """The least recall (or precision) with which F1 reaches f."""
        return average * f / (2 * average - f) if 2 * average > f else 2.0

    found = {
        "precision": (other(r1, f0), 1 + f1 - r0),
        "f1": (p0 + r0 - 1, 2 * p1 * r1 / (p1 + r1) if p1 + r1 else 0.0),
    }.get(metric, (max(r0, other(p1, f0)), min(r1, 1 + f1 - p0)))
    low, high = max(found[0], 0.0), min(found[1], 1.0)
    return (low, high) if r0 <= r1 and low <= high else None


def explanations(row: Row, others: Sequence[Row] = ()) -> tuple[Slip, ...]:
    """The slips that explain all printed digits of the row, those first that are rarest by chance.

    Args:
        row: one whose metrics are impossible, or unlikely.
        others: rows of the same report, from which a value may have been copied.
    """
    case = Case(row, others)
    found = [Slip(slip, sentence, BY_CHANCE[slip]) for slip, sentence in _all(case)]
    # One that needs a broken rule says nothing by being rare: it stands before what fits half of all rows.
    return tuple(sorted(found, key=lambda slip: slip.by_chance or 5000))


def odd(row: Row) -> tuple[Slip, ...]:
    """The slips that a row shows which breaks no rule, and which honest rows hardly show."""
    case = Case(row)
    if not case.printed or max(map(decimals, case.printed.values())) < 2 or max(case.printed.values()) > MOST_TOLD:
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
    own = [share(value) for value in case.printed.values()]
    if len(own) < 3 or case.averages == "micro":
        return
    if max(low for low, _ in own) <= min(high for _, high in own) and len(set(map(str, case.printed.values()))) == 1:
        yield "micro averages", "precision, recall, F1 and accuracy are one number, as micro averages are"


def _weighted(case: Case) -> Iterator[tuple[str, str]]:
    if case.question is None or len(set(case.question.sizes)) == 1:
        return
    for averages in ("weighted", "macro"):
        if averages != case.averages and case.fits(question(case.row, averages, case.question.runs)):
            yield f"{averages} averages", f"as {averages} averages the numbers are possible"


def _weighted_recall(case: Case) -> Iterator[tuple[str, str]]:
    """On an unbalanced test set weighted recall is the accuracy, and macro recall hardly ever."""
    accuracy, recall = (case.printed.get(metric) for metric in ("accuracy", "recall"))
    if case.averages == "weighted" or accuracy is None or recall is None or len(set(case.printed.values())) == 1:
        return
    if case.question is not None and len(set(case.question.sizes)) > 1 and digits(accuracy) == digits(recall):
        yield "weighted averages", f"recall {recall} is the accuracy, as weighted recall is, and macro recall is not"


def _exchanged(case: Case) -> Iterator[tuple[str, str]]:
    asked = case.question
    if asked is None or asked.precision is None or asked.recall is None or asked.precision == asked.recall:
        return
    swapped = Question(asked.sizes, asked.accuracy, asked.recall, asked.precision, asked.f1, asked.weighted, asked.runs)
    if case.fits(swapped):
        yield (
            "precision and recall exchanged",
            f"with precision {case.printed['recall']} and recall {case.printed['precision']} the numbers are possible",
        )


def digits(printed: float) -> str:
    """The digits of a number as it is printed."""
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
    if asked is None or asked.accuracy is None or asked.recall is None or not asked.recall_is_accuracy:
        return
    if case.read.over != "images" or not _bounded(case) or case.could_be("f1", case.printed.get("f1", -1.0)):
        return
    for batch in USUAL_BATCHES:
        if chance(asked.accuracy, asked.recall, asked.images, len(asked.sizes), batch) >= RARE:
            yield "per-batch averages", f"averaged over batches of {batch}, which is not over images, they are possible"
            return


def _bounded(case: Case) -> bool:
    p, r, f = (case.printed.get(metric) for metric in ("precision", "recall", "f1"))
    if p is None or r is None or f is None:
        return True
    low, high = share(f)
    return share(p)[0] + share(r)[0] - 1 <= high and low <= harmonic(share(p)[1], share(r)[1])


def _drop_last(case: Case) -> Iterator[tuple[str, str]]:
    asked, accuracy = case.question, case.printed.get("accuracy")
    if asked is None or accuracy is None or asked.runs != 1 or is_multiple(share(accuracy), asked.images):
        return
    for batch in USUAL_BATCHES:
        left = asked.images - asked.images % batch
        if 0 < left < asked.images and is_multiple(share(accuracy), left):
            hits = round(float(accuracy) / 100 * left)
            yield "drop_last", f"{accuracy} % is {hits:,} of {left:,} images, without the last batch of {batch}"
            return


def _training(case: Case) -> Iterator[tuple[str, str]]:
    accuracy = case.printed.get("accuracy")
    if accuracy is None or "accuracy" not in case.spans:
        return
    reported = case.row.reproduction.reported
    trained = [reported.train_accuracy_percent, *(point.train_accuracy_percent for point in reported.curve)]
    if any(digits(accuracy) == digits(value) for value in trained if value is not None):
        yield "training accuracy", f"{case.told('accuracy')} is the printed training accuracy"
    elif share(accuracy)[0] > case.spans["accuracy"][1]:
        most = 100 * case.spans["accuracy"][1]
        yield "training accuracy", f"{case.told('accuracy')} is more than the other numbers allow, {most:.2f}"


def _top5(case: Case) -> Iterator[tuple[str, str]]:
    accuracy = case.printed.get("accuracy")
    if accuracy is None or case.question is None or len(case.question.sizes) <= 5 or "accuracy" not in case.spans:
        return
    most = case.spans["accuracy"][1]
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
