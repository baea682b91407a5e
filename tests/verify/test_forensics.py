"""The rules on made-up tables and texts that keep and that break them, and on the five reports."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cifar_hpc.cli import main
from cifar_hpc.collection.reproduction import CurvePoint, Reported, Reproduction, Row, Setting, TestSet
from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify import audit
from cifar_hpc.verify.forensics import logs, slips, statements, tables, texts
from cifar_hpc.verify.forensics.printed import bounds
from cifar_hpc.verify.forensics.statements import GivenAgain, Order, SpeedUp, Statements
from tests.conftest import COLLECTION, EXPECTED, Command, Refuse, reports_in

REPORT = next(iter(COLLECTION.reports))
READABLE = {"reproduction": {"row": "a", "report": REPORT}}
ORDER = {"report": REPORT, "where": "here", "statement": "", "metrics": ["seconds"], "orders": [["a"]]}


CROSS_ENTROPY = {"loss": Setting("stated", "cross-entropy")}
IMAGES: dict[str, Any] = {"averaged_over": "images", "averages": "macro"}


def make_row(
    name: str = "made_up",
    data: dict[str, Any] | None = None,
    label: str = "",
    settings: dict[str, Setting] | None = None,
    **reported: Any,
) -> Row:
    group = Reproduction(
        row=name,
        report=REPORT,
        where=f"place of {name}",
        label=label or name,
        reported=Reported(**reported),
        settings=settings or {},
    )
    return Row(Path(f"{name}.yaml"), group, {"data": data or {"batch_size": 100}})


def cut(value: float, decimals: int) -> float:
    """A number as printed by a program that cuts off digits."""
    return float(math.floor(value * 10**decimals) / 10**decimals)


@given(st.integers(0, 2**31), st.integers(2, 10), st.integers(5, 30), st.sampled_from([1, 2, 3]), st.booleans())
def test_honest_metrics_keep_the_rules(seed: int, classes: int, per_class: int, decimals: int, rounded: bool) -> None:
    # Any confusion matrix of a balanced test set, however good or bad the network.
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    noise = rng.choice(classes, len(labels), p=rng.dirichlet(np.ones(classes) * rng.uniform(0.05, 5)))
    predicted = np.where(rng.random(len(labels)) < rng.random(), labels, noise)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    show = round if rounded else cut
    row = make_row(
        test_accuracy_percent=show(100 * float(accuracy_score(labels, predicted)), decimals),
        precision_percent=show(100 * float(precision), decimals),
        recall_percent=show(100 * float(recall), decimals),
        f1_percent=show(100 * float(f1), decimals),
    )
    assert not [*tables.recall_is_accuracy(row), *tables.f1_is_bounded(row)]


@given(st.integers(0, 50_000), st.integers(0, 10_000), st.integers(0, 6), st.booleans())
def test_honest_accuracies_count_images(train_hits: int, test_hits: int, decimals: int, rounded: bool) -> None:
    def percent(hits: int, images: int) -> float:
        if rounded:
            return round(100 * hits / images, decimals)
        return float((100 * hits * 10**decimals // images) / 10**decimals)

    row = make_row(
        train_accuracy_percent=percent(train_hits, 50_000), test_accuracy_percent=percent(test_hits, 10_000), **IMAGES
    )
    assert not list(tables.accuracy_counts_images(row))


@given(st.integers(0, 2**31), st.integers(2, 10), st.integers(10, 200))
def test_honest_losses_keep_the_rule(seed: int, classes: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.uniform(0.1, 5), (images, classes))
    labels = rng.integers(0, classes, images)
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(images), labels]
    accuracy = 100 * (logits.argmax(axis=1) == labels).mean()
    point = CurvePoint(1, train_loss=round(float(losses.mean()), 4), train_accuracy_percent=round(float(accuracy), 2))
    row = make_row(epochs=1, curve=[point], settings=CROSS_ENTROPY)
    assert not list(logs.loss_and_accuracy_are_possible(row))


@given(st.lists(st.floats(0.5, 5000), min_size=1, max_size=60), st.integers(0, 2), st.booleans(), st.floats(0, 0.015))
def test_honest_logs_add_up(seconds: list[float], decimals: int, rounded: bool, between: float) -> None:
    show = round if rounded else cut
    total = math.fsum(seconds) * (1 + between)
    curve = [CurvePoint(k + 1, seconds=float(show(s, decimals))) for k, s in enumerate(seconds)]
    for printed in (curve, curve[: len(curve) // 2]):  # the whole log, and one of which the end is not printed
        row = make_row(epochs=len(seconds), training_seconds=round(total, 3), curve=printed)
        assert not list(logs.epochs_add_up(row))


@given(st.floats(0, 1000), st.integers(0, 4))
def test_bounds_hold_what_was_printed(value: float, decimals: int) -> None:
    for printed in (round(value, decimals), cut(value, decimals)):
        low, high = bounds(printed)
        assert low - 1e-9 <= value <= high + 1e-9


def strengths(found: Iterator[tuple[Any, str, str]]) -> list[str]:
    return [strength for _, _, strength in found]


def test_broken_tables_are_found() -> None:
    stated = make_row(test_accuracy_percent=87.43, recall_percent=87.82, **IMAGES)
    assert strengths(tables.recall_is_accuracy(stated)) == ["impossible"]
    for f1, precision, recall in ((71.97, 71.07, 70.84), (79.01, 90.11, 90.22)):
        for over in ("images", "batches", "runs", "unknown"):
            row = make_row(precision_percent=precision, recall_percent=recall, f1_percent=f1, averaged_over=over)
            assert strengths(tables.f1_is_bounded(row)) == ["impossible"]
    low = CurvePoint(1, train_loss=0.1, train_accuracy_percent=50.0)
    assert 0.5 * math.log(2) > 0.1
    assert list(logs.loss_and_accuracy_are_possible(make_row(epochs=1, curve=[low], settings=CROSS_ENTROPY)))


def test_rounding_alone_is_no_finding() -> None:
    def found(accuracy: float, recall: float) -> list[Any]:
        return list(
            tables.recall_is_accuracy(make_row(test_accuracy_percent=accuracy, recall_percent=recall, **IMAGES))
        )

    assert not found(85.98, 85.99)
    assert found(85.98, 86.01)
    assert found(Printed("55.50"), 55.52)  # a text keeps its zero
    assert not found(55.50, 55.52)  # which YAML drops
    assert not list(tables.f1_is_bounded(make_row(precision_percent=85.92, recall_percent=85.98, f1_percent=85.95)))


@pytest.mark.parametrize(
    ("accuracy", "over", "batch", "found"),
    [
        (87.43, "images", None, ["impossible"]),
        (87.43, "runs", None, []),  # which leaves open what is averaged within a run
        (80.01, "runs", None, ["unlikely"]),
        (87.43, "batches", None, []),
        (87.43, "unknown", None, []),  # batches of 256 do so
        (87.43, "unknown", 128, ["unlikely"]),
        (87.43, "unknown", 100, ["unlikely"]),  # which divides the test set
        (80.01, "unknown", None, ["unlikely"]),
    ],
)
def test_what_was_averaged(accuracy: float, over: Any, batch: int | None, found: list[str]) -> None:
    settings = {"batch_size": Setting("stated", "here")} if batch else None
    row = make_row(
        data={"batch_size": batch or 1},
        settings=settings,
        test_accuracy_percent=accuracy,
        recall_percent=87.82,
        averaged_over=over,
    )
    assert strengths(tables.recall_is_accuracy(row)) == found


SVHN = TestSet(26032, 10, [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595])


def on(test_set: TestSet, *percents: str, **said: Any) -> list[tuple[str, str]]:
    """What is found in a row of another test set: accuracy, precision, recall, F1."""
    reported: dict[str, Any] = {key: Printed(text) for key, text in zip(METRICS, percents, strict=True)}
    row = make_row(**reported, **said)
    row = replace(row, reproduction=replace(row.reproduction, test_set=test_set), config={})
    return [(found.rule, found.strength) for found in tables.audit_row(row)]


def test_habits_that_are_left_open_are_no_proof() -> None:
    # Balanced accuracy as recall beside weighted precision and F1, on unequal classes.
    mixed = ("87.01", "87.03", "85.82", "86.90")
    assert on(SVHN, *mixed) == [("f1_is_bounded", "unusual")]
    assert ("f1_is_bounded", "impossible") in on(SVHN, *mixed, averages="macro")
    assert on(SVHN, *mixed, averaged_over="images") == [("f1_is_bounded", "unusual")]
    # Keras' precision and recall, which count probabilities above one half.
    keras = ("87.10", "92.52", "82.13", "87.02")
    equal = TestSet(10_000, 10, 1000)
    assert on(equal, *keras) == [("recall_is_accuracy", "unusual")]
    assert on(equal, *keras, averaged_over="images", averages="micro") == [("recall_is_accuracy", "unusual")]
    # One metric at another default: micro F1, then micro precision, which are the accuracy, beside macro averages.
    for mixed in (("85.98", "85.92", "85.98", "85.98"), ("86.00", "86.00", "86.00", "86.05")):
        assert on(equal, *mixed) == [("f1_is_bounded", "unusual")]
        assert ("f1_is_bounded", "impossible") in on(equal, *mixed, averages="macro")
    assert ("recall_is_accuracy", "impossible") in on(equal, *keras, **IMAGES)
    # So near that batches explain it there is nothing to say.
    assert on(equal, "87.10", "87.15", "87.05", "87.08") == []


@pytest.mark.parametrize("over", ["images", "batches", "runs", "unknown"])
def test_an_accuracy_may_be_the_mean_of_recalls(over: str) -> None:
    # torchmetrics' with average="macro", beside scikit-learn's averages, on unequal classes
    three, matrix = TestSet(1000, 3, [500, 300, 200]), np.array([[471, 20, 9], [31, 250, 19], [25, 14, 161]])
    flat = np.repeat(np.arange(9), matrix.ravel())
    for kind in ("macro", "weighted", "micro"):
        p, r, f, _ = precision_recall_fscore_support(flat // 3, flat % 3, average=kind)
        balanced = float((np.diag(matrix) / matrix.sum(axis=1)).mean())
        row = [f"{100 * float(value):.4f}" for value in (balanced, p, r, f)]
        for said in ({"averages": kind}, {}):
            found = on(three, *row, averaged_over=over, **said)
            assert not [one for one in found if one[1] != "unusual"], (kind, found)
        if kind == "macro":
            assert not found


def test_micro_averages_are_one_number_in_each_batch_too() -> None:
    for over in ("images", "batches", "runs", "unknown"):
        said = {"averaged_over": over, "averages": "micro"}
        assert on(SVHN, "97.0037", "97.0037", "97.0037", "97.0037", **said) == []
        assert ("micro_averages_are_equal", "impossible") in on(SVHN, "97.00", "97.00", "97.00", "97.05", **said)
    # of Keras, whose precision and recall do not count every answer
    assert on(SVHN, "97.00", "97.30", "96.70", "97.00", averages="micro", averaged_over="batches") == [
        ("recall_is_accuracy", "unusual")
    ]


@pytest.mark.parametrize(("classes", "batch"), [(10, 32), (10, 64), (100, 128)])
@pytest.mark.parametrize("absent", [0, 1])
def test_classes_that_a_batch_lacks_are_allowed_for(classes: int, batch: int, absent: int) -> None:
    # scikit-learn with labels=range(classes) and zero_division=absent, averaged over batches
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat(np.arange(classes), 10_000 // classes))
    answers = np.where(rng.random(10_000) < 0.83, labels, rng.integers(0, classes, 10_000))
    parts = [slice(k, k + batch) for k in range(0, 10_000, batch)]
    values = [
        precision_recall_fscore_support(
            labels[k], answers[k], average="macro", labels=range(classes), zero_division=absent
        )[:3]
        for k in parts
    ]
    accuracy = np.mean([(labels[k] == answers[k]).mean() for k in parts])
    row = [f"{100 * float(value):.2f}" for value in (accuracy, *np.mean(values, axis=0))]
    for over in ("unknown", "batches", "runs"):
        assert on(TestSet(10_000, classes, 10_000 // classes), *row, averaged_over=over) == []


@pytest.mark.parametrize("absent", [0, 1, np.nan])
def test_what_a_class_counts_that_is_never_predicted_is_left_open(absent: float) -> None:
    labels = np.repeat(np.arange(3), 10)
    answers = np.concatenate([np.repeat([0, 1], [8, 2]), np.repeat([0, 1], [1, 9]), np.repeat([0, 1], [7, 3])])
    p, r, f, _ = precision_recall_fscore_support(labels, answers, average="macro", zero_division=absent)
    row = [f"{100 * float(value):.3f}" for value in ((labels == answers).mean(), p, r, f)]
    assert on(TestSet(30, 3, 10), *row, **IMAGES) == []


@pytest.mark.parametrize("classes", [200, 1000])
def test_many_classes_are_decided(classes: int) -> None:
    honest = ("76.13", "76.90", "76.13", "75.98")
    assert on(TestSet(10_000, classes, 10_000 // classes), *honest, **IMAGES) == []
    unequal = [40 + n % 21 for n in range(200)]
    assert on(TestSet(sum(unequal), 200, unequal), *honest) == []


@pytest.mark.parametrize(
    "loss",
    [
        "listing 2: sigmoid cross-entropy (tf.nn.sigmoid_cross_entropy_with_logits)",
        "generalized cross-entropy (q = 0.7)",
        "class-weighted cross-entropy",
        "cross-entropy, gradients accumulated over 8 steps",
    ],
)
def test_other_losses_obey_other_bounds(loss: str) -> None:
    log = curve(32.0, 42.1, 48.0, losses=(1.9, 0.2, 1.5))
    row = make_row(curve=log, settings=CROSS_ENTROPY, averaged_over="batches")
    assert strengths(logs.loss_and_accuracy_are_possible(row)) == ["impossible"]
    row.reproduction.settings = {"loss": Setting("stated", loss)}
    assert not strengths(logs.loss_and_accuracy_are_possible(row))


@pytest.mark.parametrize("over", ["images", "batches", "unknown"])
@pytest.mark.parametrize("batch", [16, 64, 100, 256])
def test_a_loss_that_is_divided_by_the_batch_once_more_is_named(batch: int, over: str) -> None:
    honest = [(38.2, 1.71), (55.9, 1.24), (71.3, 0.83), (94.1, 0.17), (98.8, 0.04)]
    log = [CurvePoint(k, train_accuracy_percent=a, train_loss=round(x / batch, 4)) for k, (a, x) in enumerate(honest)]
    for data in (None, {"batch_size": batch}):
        row = make_row(data=data, curve=log, settings=CROSS_ENTROPY, averaged_over=over)
        (found,) = logs.loss_and_accuracy_are_possible(row)
        assert found[2] == "unusual"
        assert "divided by the number of images" in found[1]
    assert f"a batch of {batch} " in found[1]


def test_the_last_batchs_loss_beside_the_epochs_accuracy_is_no_proof() -> None:
    log = curve(55.9, 71.3, 90.2, losses=(1.24, 0.83, 0.05))
    told = [
        strengths(logs.loss_and_accuracy_are_possible(make_row(curve=log, settings=CROSS_ENTROPY, averaged_over=over)))
        for over in ("unknown", "batches")
    ]
    assert told == [["unusual"], ["impossible"]]


def test_nearly_perfect_rows_get_no_hint() -> None:
    row = make_row(test_accuracy_percent=99.01, precision_percent=99.01, recall_percent=99.0, f1_percent=99.0)
    assert slips.odd(row) == ()


def test_fractions_of_an_image_are_found() -> None:
    def found(batch: int = 100, holdout: int = 0, **reported: Any) -> list[str]:
        data = {"batch_size": batch, "holdout_images": holdout}
        return strengths(tables.accuracy_counts_images(make_row(data=data, **reported)))

    def log(accuracy: float) -> list[CurvePoint]:
        return [CurvePoint(1, train_accuracy_percent=accuracy)]

    # 50,000 images: multiples of 0.002 %; 10,000: of 0.01 %
    assert found(train_accuracy_percent=54.8971, **IMAGES) == ["impossible"]
    assert found(test_accuracy_percent=54.898, **IMAGES) == ["impossible"]
    assert not found(curve=log(54.897))  # 54.898 may be held as 54.897999 and cut off
    # The batch divides the training set; but recalls may have been averaged, in each batch.
    assert found(curve=log(54.8971)) == ["unusual"]
    assert found(curve=log(54.8971), **IMAGES) == ["impossible"]
    assert not found(curve=log(54.8971), averaged_over="runs")
    assert not found(test_accuracy_percent=54.8971, std_percent=0.2, **IMAGES)  # a deviation is one between runs
    assert not found(curve=log(54.898))
    # averaged over batches of which the last is smaller it need not be a multiple
    assert not found(32, curve=log(54.8971))
    # nor when it is a mean over runs
    assert not found(test_accuracy_percent=54.898)
    assert not found(test_accuracy_percent=54.898, averaged_over="runs")
    assert not found(test_accuracy_percent=54.898, averaged_over="runs", runs=5)
    assert not found(test_accuracy_percent=54.8971, averaged_over="runs", runs=5)  # over batches within each, perhaps
    assert found(test_accuracy_percent=54.8971, averaged_over="images", runs=5) == ["impossible"]
    # 40,000 images: multiples of 0.0025 %
    assert found(holdout=10_000, curve=log(54.8963)) == ["unusual"]


@pytest.mark.parametrize(
    ("f1", "over", "runs", "found"),
    [
        (86.10, "images", None, []),
        (86.60, "images", None, ["impossible"]),
        (86.60, "images", 3, ["impossible"]),
        (86.60, "runs", None, []),
        (86.60, "batches", None, []),
        (86.60, "unknown", None, []),
    ],
)
def test_metrics_of_one_matrix(f1: float, over: Any, runs: int | None, found: list[str]) -> None:
    row = make_row(
        test_accuracy_percent=86.21,
        precision_percent=86.50,
        f1_percent=f1,
        averaged_over=over,
        runs=runs,
        averages="macro",
    )
    assert strengths(tables.one_confusion_matrix(row)) == found
    for _, sentence, _ in tables.one_confusion_matrix(row):
        assert "F1 lies between" in sentence


def test_an_unknown_test_set_is_not_judged() -> None:
    group = Reproduction(row="x", report=REPORT, reported=Reported(test_accuracy_percent=90.0, recall_percent=10.0))
    row = Row(Path("x.yaml"), group, {})
    assert not tables.audit_row(row)
    assert "test_set" in tables.not_judged(row)
    group.test_set = TestSet(10_000, 10, 1000)
    assert not tables.not_judged(row)
    assert tables.audit_row(row)


def test_weighted_recall_is_accuracy_on_any_test_set() -> None:
    group = Reproduction(
        row="x",
        report=REPORT,
        reported=Reported(test_accuracy_percent=90.0, recall_percent=80.0, averaged_over="images", averages="weighted"),
        test_set=TestSet(1000, 3, [500, 300, 200]),
    )
    row = Row(Path("x.yaml"), group, {})
    # unless accuracy is the mean of the recalls
    assert strengths(tables.recall_is_accuracy(row)) == ["unusual"]
    group.reported.averages = "macro"
    assert not list(tables.recall_is_accuracy(row))


@pytest.mark.parametrize("loss", ["binary cross-entropy", "focal loss", "cross-entropy with label smoothing", None])
def test_other_losses_are_not_held_to_cross_entropy(loss: str | None) -> None:
    point = CurvePoint(1, train_loss=0.1, train_accuracy_percent=50.0)
    settings = {"loss": Setting("stated", loss)} if loss else {}
    assert not list(logs.loss_and_accuracy_are_possible(make_row(epochs=1, curve=[point], settings=settings)))


METRICS = ("test_accuracy_percent", "precision_percent", "recall_percent", "f1_percent")


@pytest.mark.parametrize(
    ("printed", "slip"),
    [
        (("86.21", "87.50", "86.21", "86.85"), "F1 as harmonic mean of the averages"),
        (("86.21", "86.12", "86.21", "68.18"), "two digits exchanged"),
        (("86.21", "86.30", "86.21", "87.15"), "one digit wrong"),
        (("86.21", "86.21", "86.50", "86.30"), "precision and recall exchanged"),
        (("95.21", "86.31", "86.21", "86.20"), "training accuracy"),
        (("99.21", "86.31", "86.21", "86.20"), "top-5 accuracy"),
        (("86.22", "86.31", "86.19", "86.20"), "per-batch averages"),
        (("86.2179", "86.31", "86.21", "86.20"), "drop_last"),
    ],
)
def test_slips_are_named(printed: tuple[str, ...], slip: str) -> None:
    reported: dict[str, Any] = {key: Printed(text) for key, text in zip(METRICS, printed, strict=True)}
    row = make_row(**reported, **IMAGES)
    found = slips.explanations(row)
    assert slip in {one.slip for one in found}, found
    assert [one.by_chance or 5000 for one in found] == sorted(one.by_chance or 5000 for one in found)


def test_slips_explain_all_printed_digits() -> None:
    honest = ("86.21", "86.31", "86.21", "86.20")

    def explained(printed: Sequence[str], test_set: TestSet | None = None, **said: Any) -> set[str]:
        reported: dict[str, Any] = {key: Printed(text) for key, text in zip(METRICS, printed, strict=True)}
        row = make_row(**reported, **said)
        group = replace(row.reproduction, test_set=test_set)
        return {f"{one.slip}: {one.sentence}" for one in slips.explanations(replace(row, reproduction=group))}

    # What is wrong is another number: no slip in these four explains it.
    assert explained(honest, train_accuracy_percent=54.8971, **IMAGES) == set()
    # The error says which of two numbers is wrong.
    typo = explained(("86.51", *honest[1:]), error_percent=Printed("13.49"), **IMAGES)
    assert any(one.startswith("one digit wrong: recall 86.21 for 86.51") for one in typo), typo
    assert not [one for one in typo if "accuracy 86.51 for" in one]
    # Where nobody says what was averaged, accuracy and recall need not agree.
    named = explained(("86.24", "86.31", "86.10", "68.18"))
    assert "two digits exchanged: F1 68.18 for 86.18" in named
    # The last 16 images move an accuracy by 0.16 points at most, at any number of decimals.
    for accuracy, dropped in (("86.30", True), ("86.60", False)):
        told = explained((accuracy, "86.31", "86.21", "86.20"), **IMAGES)
        assert dropped == any(one.startswith("drop_last") for one in told)
    mnist = TestSet(10_000, 10, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    told = explained(("97.013", "97.040", "97.005", "97.015"), mnist, **IMAGES)
    assert any(one.startswith("per-batch averages") for one in told)


def test_a_copied_value_is_named() -> None:
    other = make_row("other", f1_percent=Printed("91.37"))
    values: dict[str, Any] = dict(zip(METRICS, map(Printed, ("86.21", "86.31", "86.21", "91.37")), strict=True))
    found = slips.explanations(make_row(**values, **IMAGES), [other])
    assert "F1 91.37 is the F1 of place of other" in {one.sentence for one in found}


def test_odd_rows_get_a_hint() -> None:
    def hinted(*printed: str) -> list[str]:
        values: dict[str, Any] = dict(zip(METRICS, map(Printed, printed), strict=True))
        return [one.slip for one in slips.odd(make_row(**values))]

    assert hinted("85.98", "85.92", "85.98", "85.95") == ["F1 as harmonic mean of the averages"]
    assert hinted("85.98", "85.98", "85.98", "85.98") == ["micro averages"]
    assert hinted("85.98", "86.10", "85.98", "85.90") == []
    assert hinted("86", "86", "86", "86") == []  # as many honest rows print


def test_epochs_that_do_not_add_up_are_found() -> None:
    two = [CurvePoint(1, seconds=10), CurvePoint(2, seconds=10)]
    assert strengths(logs.epochs_add_up(make_row(epochs=2, training_seconds=100, curve=two))) == ["unusual"]
    assert not list(logs.epochs_add_up(make_row(epochs=2, training_seconds=29, curve=two)))  # evaluation counts too
    assert list(logs.epochs_add_up(make_row(epochs=3, training_seconds=15, curve=two)))  # two of three exceed it
    assert not list(logs.epochs_add_up(make_row(epochs=2, training_seconds=20.9, curve=two)))
    assert not list(logs.epochs_add_up(make_row(epochs=3, training_seconds=100, curve=two)))  # one is not printed


def test_uneven_epochs_of_one_configuration_are_unusual() -> None:
    quick = make_row("quick", label="same", epochs=10, training_seconds=100)
    slow = make_row("slow", label="same", epochs=20, training_seconds=400)
    found = list(logs.seconds_per_epoch_agree([quick, slow]))
    assert [(f.strength, f.rows, f.numbers) for f in found] == [
        ("unusual", ("quick", "slow"), {"quick": 10.0, "slow": 20.0})
    ]
    other = make_row("other", label="another", epochs=20, training_seconds=400)
    near = make_row("near", label="same", epochs=20, training_seconds=240)
    assert not list(logs.seconds_per_epoch_agree([quick, other, near]))


def curve(*accuracies: float, losses: Sequence[float] = ()) -> list[CurvePoint]:
    return [
        CurvePoint(k + 1, train_accuracy_percent=a, train_loss=losses[k] if losses else None)
        for k, a in enumerate(accuracies)
    ]


def test_logs_that_no_run_prints_are_unusual() -> None:
    honest = curve(50.12, 60.31, 65.44, 69.02, losses=(1.402, 1.121, 0.981, 0.882))
    assert not list(logs.loss_and_accuracy_move_together(make_row(epochs=4, curve=honest)))
    # the last batch's loss scatters in every epoch
    scattered = curve(*(50 + k for k in range(8)), losses=(1.4, 0.9, 1.7, 0.8, 1.5, 1.0, 1.6, 0.7))
    assert not list(logs.loss_and_accuracy_move_together(make_row(epochs=8, curve=scattered)))
    wrong = curve(50.12, 60.31, 65.44, 69.02, losses=(1.402, 1.121, 1.981, 0.882))
    (found,) = logs.loss_and_accuracy_move_together(make_row(epochs=4, curve=wrong))
    assert (found[0]["epoch"], found[2]) == (3, "unusual")
    perfect = [CurvePoint(1, test_accuracy_percent=100.0), CurvePoint(2, test_accuracy_percent=71.2)]
    assert strengths(logs.perfect_after_one_epoch(make_row(epochs=2, curve=perfect))) == ["unusual"]
    assert not list(
        logs.perfect_after_one_epoch(make_row(epochs=2, curve=[CurvePoint(2, test_accuracy_percent=100.0)]))
    )
    for seconds, unusual in ((36.81, True), (36, False)):
        same = [CurvePoint(k, seconds=seconds) for k in (1, 2, 3)]
        assert bool(list(logs.seconds_scatter(make_row(epochs=3, curve=same)))) == unusual


def test_curves_of_others_are_unusual() -> None:
    first = make_row("a", epochs=6, curve=curve(50.12, 60.31, 65.44, 69.02, 71.55, 73.08))
    moved = make_row("b", epochs=6, curve=curve(51.12, 61.31, 66.44, 70.02, 72.55, 74.08))
    later = make_row("c", epochs=6, curve=curve(60.31, 65.44, 69.02, 71.55, 73.08, 74.9))
    own = make_row("d", epochs=6, curve=curve(50.22, 60.11, 65.94, 69.32, 71.15, 73.58))
    longer = make_row("e", label="a", epochs=7, curve=curve(50.12, 60.31, 65.44, 69.02, 71.55, 73.08, 75.0))
    for other, found in ((moved, 1), (later, 1), (own, 0), (longer, 0)):
        assert len(list(logs.curves_are_their_own([first, other]))) == found
    (told,) = logs.curves_are_their_own([first, moved])
    assert told.strength == "unusual"
    assert "plus 1" in told.sentence


def run_rule(rule: str, rows: list[Row], **stated: Any) -> list[Any]:
    content = {"given_again": [], "orders": [], "speed_ups": []} | stated
    found = list(getattr(texts, rule)(Statements(**content), {row.reproduction.name: row for row in rows}))
    assert all(f.rule == rule for f in found)
    return found


@pytest.mark.parametrize(
    ("values", "approximate", "found"),
    [
        ({"test_accuracy_percent": 92.1}, False, 1),
        ({"test_accuracy_percent": 93.6}, False, 0),
        ({"test_accuracy_percent": 94}, False, 0),  # rounded
        ({"test_accuracy_percent": 93}, False, 0),  # cut off
        ({"training_hours": 7.5}, False, 0),
        ({"training_hours": 7}, False, 0),  # cut off
        ({"training_hours": 6}, False, 1),
        ({"training_hours": 6}, True, 0),
        ({"training_hours": 50}, True, 1),
        ({"test_accuracy_percent": 95}, True, 0),
        ({"test_accuracy_percent": 75}, True, 1),  # a quarter off, but 18 points
        ({"f1_percent": 12}, False, 0),  # the row prints none
    ],
)
def test_numbers_given_twice(values: dict[str, float], approximate: bool, found: int) -> None:
    row = make_row("a", test_accuracy_percent=93.6, training_seconds=27_000)
    again = GivenAgain("a", "there", values, approximate=approximate)
    assert len(run_rule("numbers_given_twice_agree", [row], given_again=[again])) == found


def test_curves_given_twice() -> None:
    row = make_row("a", epochs=2, curve=[CurvePoint(1, seconds=48), CurvePoint(2, seconds=36)])
    same = GivenAgain("a", "there", curve=[CurvePoint(1, seconds=48.2)])
    other = GivenAgain("a", "there", curve=[CurvePoint(2, seconds=48)])
    assert [f.where for f in run_rule("numbers_given_twice_agree", [row], given_again=[same, other])] == [
        "place of a; there"
    ]


def said(metric: Any, *orders: list[str], kind: Any = "above", where: str = "here") -> Order:
    return Order(REPORT, where, "as printed", [metric], list(orders), kind)


def test_text_against_its_numbers() -> None:
    rows = [make_row("a", test_accuracy_percent=90.0), make_row("b", test_accuracy_percent=80.0), make_row("silent")]
    rule, metric = "text_and_table_agree", "test_accuracy_percent"
    assert not run_rule(rule, rows, orders=[said(metric, ["a", "b"])])
    (found,) = run_rule(rule, rows, orders=[said(metric, ["b", "silent", "a"])])
    assert (found.rows, found.numbers) == (("b", "a"), {"b": 80.0, "a": 90.0})
    # a number that stands beside the statement comes before the table's
    beside = GivenAgain("a", "here", {metric: 70.0})
    assert run_rule(rule, rows, orders=[said(metric, ["a", "b"])], given_again=[beside])
    elsewhere = GivenAgain("a", "elsewhere", {metric: 70.0})
    assert not run_rule(rule, rows, orders=[said(metric, ["a", "b"])], given_again=[elsewhere])
    # what is printed as equal may differ in digits that are not printed
    assert not run_rule(rule, [rows[0], make_row("c", test_accuracy_percent=90.04)], orders=[said(metric, ["a", "c"])])


def test_text_against_curves_speaks_only_when_every_reading_refutes_it() -> None:
    rule, metric = "text_and_table_agree", "train_accuracy_percent"

    def row(name: str, *percents: float) -> Row:
        curve = [CurvePoint(k + 1, train_accuracy_percent=p) for k, p in enumerate(percents)]
        return make_row(name, epochs=len(percents), curve=curve)

    a, higher, later = row("a", 50.01, 60.01, 70.01), row("b", 55.01, 65.01, 75.01), row("b", 55.01, 80.01, 60.01)
    longer = row("b", 40.01, 50.01, 60.01, 90.01)
    assert run_rule(rule, [a, higher], orders=[said(metric, ["a", "b"])])
    for ambiguous in (later, longer):  # the best refutes it and the last does not; more epochs do not count
        assert not run_rule(rule, [a, ambiguous], orders=[said(metric, ["a", "b"])])
    within_margin = row("b", 50.01, 60.01, 70.91)
    assert not run_rule(rule, [within_margin, a], orders=[said(metric, ["a", "b"], kind="not below")])
    assert run_rule(rule, [within_margin, a], orders=[said(metric, ["a", "b"])])


def test_orders_both_ways() -> None:
    rows = [make_row("a", test_accuracy_percent=90.0), make_row("b"), make_row("c")]
    one = said("test_accuracy_percent", ["a", "b", "c"], where="here")
    other = said("test_accuracy_percent", ["c", "a"], where="there")
    (found,) = run_rule("orders_agree", rows, orders=[one, other])
    assert (found.rows, found.where, found.numbers) == (("a", "c"), "here; there", {"a": 90.0})
    slower = said("training_seconds", ["c", "a"], where="there")
    weaker = said("test_accuracy_percent", ["c", "a"], where="there", kind="not below")
    assert not run_rule("orders_agree", rows, orders=[one, slower, weaker, one])


@pytest.mark.parametrize(
    ("value", "options", "found"),
    [
        (2.1, {}, 0),
        (2.0, {}, 0),  # 2, with no decimals that YAML kept
        (2.3, {}, 1),
        (4, {}, 1),
        (3, {"in_words": True}, 0),
        (4, {"in_words": True}, 1),
        (3, {"up_to": True}, 0),
        (2, {"up_to": True}, 1),
        (2.5, {"approximate": True}, 0),
        (3, {"approximate": True}, 1),
    ],
)
def test_speed_ups_from_times(value: float, options: dict[str, bool], found: int) -> None:
    rows = [make_row("slow", training_seconds=2592), make_row("fast", training_seconds=1238)]  # 2.094 times
    stated = SpeedUp(
        REPORT, "here", "as printed", value, "one against the other", faster="fast", slower="slow", **options
    )
    assert len(run_rule("stated_speed_up_follows", rows, speed_ups=[stated])) == found


@given(st.floats(1, 10_000), st.floats(1, 10_000), st.integers(0, 2), st.integers(0, 2))
def test_honest_speed_ups_follow(slow: float, fast: float, decimals: int, digits: int) -> None:
    rows = [
        make_row("s", training_seconds=round(slow, decimals)),
        make_row("f", training_seconds=round(fast, decimals)),
    ]
    stated = SpeedUp(REPORT, "here", "", round(slow / fast, digits), "", faster="f", slower="s")
    assert not run_rule("stated_speed_up_follows", rows, speed_ups=[stated])


@pytest.mark.parametrize(
    ("points", "approximate", "found"),
    [(5, False, 1), (10, False, 0), (12.5, False, 0), (12, True, 0), (18, True, 1)],
)
def test_leads_in_points(points: float, approximate: bool, found: int) -> None:
    rows = [make_row("a", test_accuracy_percent=90.0), make_row("b", test_accuracy_percent=80.0)]
    stated = replace(said("test_accuracy_percent", ["a", "b"]), by_points=points, approximate=approximate)
    assert len(run_rule("stated_lead_follows", rows, orders=[stated])) == found


def test_more_than_up_to() -> None:
    bound = SpeedUp(REPORT, "here", "up to three times", 3, "many against one", up_to=True)
    for value, compares, found in ((3.5, "many against one", 1), (3.0, "many against one", 0), (3.5, "others", 0)):
        other = SpeedUp(REPORT, "there", "", value, compares)
        assert len(run_rule("nothing_exceeds_up_to", [], speed_ups=[bound, other])) == found


def test_the_reports(command: Command) -> None:
    done = command("audit", "--json", "-")
    assert done.status == 1
    content = json.loads(done.out)
    found = {(f["row"] or f["report"], f["rule"], tuple(sorted(f["numbers"].values()))) for f in content["findings"]}
    assert set(content["rows"]) == set(COLLECTION.rows)
    assert found == {(name, rule, tuple(numbers)) for name, rule, numbers in EXPECTED["findings"]}
    for strength in ("impossible", "unlikely"):
        told = [[f["row"], f["rule"]] for f in content["findings"] if f["strength"] == strength]
        assert sorted(told) == EXPECTED[strength]
    assert {f["strength"] for f in content["findings"]} == {"impossible", "unlikely", "contradicts"}
    assert [[hint["row"], hint["slip"]] for hint in content["hints"]] == EXPECTED["hints"]
    answers = {answer["row"]: answer["answer"] for answer in content["answers"]}
    assert {answers[row] for row, _ in EXPECTED["impossible"]} == {"impossible"}


def test_reports_without_findings_are_told_so(command: Command) -> None:
    found = audit.audit(COLLECTION)[0]
    silent = set(COLLECTION.reports) - {finding.report for finding in found}
    assert silent
    assert command("audit", *silent).status == 0


def test_audit_says_what_it_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "aamir"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "at epoch 8" in lines[0]
    assert lines[-1].startswith("3 findings in 3 rows")


@pytest.mark.parametrize("arguments", [["nobody"], [REPORT, "nobody"]])
def test_unknown_reports_are_told(refuse: Refuse, arguments: list[str]) -> None:
    assert "There is no report nobody" in refuse("audit", *arguments)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"given_again": [{"row": "nobody", "where": "here"}]}, "the row nobody, which does not exist"),
        ({"given_again": [{"row": "a", "where": "x", "values": {"loss": 1}}]}, "loss, which no row reports"),
        ({"given_again": [{"row": "a"}]}, "given_again[0] misses the key where"),
        (
            {"given_again": [{"row": "a", "where": "x", "rov": "b"}]},
            "has the key rov; did you mean row?",
        ),
        ({"orders": 3}, "orders is 3; it must be a list"),
        ({"orders": [ORDER, ORDER | {"kind": "up"}]}, 'orders[1].kind is "up"; it must be one of above, not below'),
        ({"orders": [ORDER | {"orders": ["a"]}]}, 'orders[0].orders[0] is "a"; it must be a list'),
        ({"orders": [ORDER | {"report": "us"}]}, "orders[0].report is us; it must be one of "),
        ({"orders": [ORDER | {"by_points": 5}]}, "orders[0] has by_points, so each of its orders must name two rows"),
        ({"more": []}, "has the key more"),
    ],
)
def test_wrong_statements_are_told(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    sound: dict[str, Any] = {"given_again": [], "orders": [], "speed_ups": []}
    collection = reports_in(tmp_path, statements=sound | wrong, a=READABLE)
    found, (mistake,) = statements.read_statements(collection)
    assert mistake.startswith(f"{tmp_path / 'statements.yaml'}:")
    assert told in mistake
    assert len(found.orders) == (told.startswith("orders[1]"))  # the sound one is kept


def test_a_statement_on_a_row_that_is_broken_is_left_out_without_a_word(tmp_path: Path) -> None:
    broken = {"reproduction": READABLE["reproduction"] | {"report": "nobody"}}
    collection = reports_in(tmp_path, statements={"orders": [ORDER]}, a=broken)
    assert len(collection.problems) == 1
    assert statements.read_statements(collection) == (Statements([], [], []), [])


def test_a_collection_of_tables_alone(tmp_path: Path, command: Command) -> None:
    (tmp_path / "collection.yaml").write_text("reports: {mine: {title: Mine}}")
    metrics = ("test_accuracy_percent", "precision_percent", "recall_percent", "f1_percent")
    mnist = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    tables_: dict[str, tuple[dict[str, Any] | None, tuple[str, ...]]] = {
        "broken": ({"images": 10_000, "classes": 10, "class_images": mnist}, ("98.50", "98.49", "98.10", "98.48")),
        "honest": ({"images": 10_000, "classes": 10, "class_images": mnist}, ("98.50", "98.49", "98.47", "98.48")),
        "small": ({"images": 30, "classes": 3, "class_images": 10}, ("80.00", "83.33", "80.00", "79.20")),
        "unknown": (None, ("98.50", "98.49", "60.00", "98.48")),
    }
    for row, (test_set, printed) in tables_.items():
        reported = dict(zip(metrics, printed, strict=True)) | IMAGES
        group = {"row": row, "report": "mine", "where": "here", "reported": reported}
        group |= {"test_set": test_set} if test_set else {}
        (tmp_path / f"{row}.yaml").write_text(yaml.safe_dump({"reproduction": group}))
    done = command("audit", "--collection", str(tmp_path), "--json", "-")
    assert done.status == 1
    content = json.loads(done.out)
    found = {(f["row"], f["rule"], f["strength"], f["reading"]) for f in content["findings"]}
    stated = "as stated: averaged over all images, macro averages"
    assert found == {
        ("broken", "f1_is_bounded", "impossible", "under all readings"),
        ("small", "one_confusion_matrix", "impossible", stated),
        ("unknown", "f1_is_bounded", "impossible", "under all readings"),
    }
    assert set(content["not_judged"]) == {"unknown"}
    answers = {answer["row"]: answer for answer in content["answers"]}
    assert {row: answers[row]["answer"] for row in answers} == {
        "broken": "impossible",
        "honest": "possible",
        "small": "impossible",
    }
    assert sum(answers["honest"]["predicted"]) == 10_000
