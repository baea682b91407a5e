"""The rules on made-up tables and texts that keep and that break them, and on the five reports."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cifar_hpc.cli import main
from cifar_hpc.collection.reproduction import CurvePoint, Reported, Reproduction, Row
from cifar_hpc.verify import audit
from cifar_hpc.verify.forensics import statements, tables, texts
from cifar_hpc.verify.forensics.printed import bounds
from cifar_hpc.verify.forensics.statements import GivenAgain, Order, SpeedUp, Statements
from tests.conftest import COLLECTION, EXPECTED, Command, Refuse, reports_in

REPORT = next(iter(COLLECTION.reports))
READABLE = {"reproduction": {"row": "a", "report": REPORT}}
ORDER = {"report": REPORT, "where": "here", "statement": "", "metrics": ["seconds"], "orders": [["a"]]}


def make_row(name: str = "made_up", data: dict[str, Any] | None = None, label: str = "", **reported: Any) -> Row:
    group = Reproduction(
        row=name, report=REPORT, where=f"place of {name}", label=label or name, reported=Reported(**reported)
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

    row = make_row(train_accuracy_percent=percent(train_hits, 50_000), test_accuracy_percent=percent(test_hits, 10_000))
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
    assert not list(tables.loss_and_accuracy_are_possible(make_row(epochs=1, curve=[point])))


@given(st.lists(st.floats(0.5, 5000), min_size=1, max_size=60), st.integers(0, 2), st.booleans(), st.floats(0, 0.015))
def test_honest_logs_add_up(seconds: list[float], decimals: int, rounded: bool, between: float) -> None:
    show = round if rounded else cut
    total = math.fsum(seconds) * (1 + between)
    curve = [CurvePoint(k + 1, seconds=float(show(s, decimals))) for k, s in enumerate(seconds)]
    for printed in (curve, curve[: len(curve) // 2]):  # the whole log, and one of which the end is not printed
        row = make_row(epochs=len(seconds), training_seconds=round(total, 3), curve=printed)
        assert not list(tables.epochs_add_up(row))


@given(st.floats(0, 1000), st.integers(0, 4))
def test_bounds_hold_what_was_printed(value: float, decimals: int) -> None:
    for printed in (round(value, decimals), cut(value, decimals)):
        low, high = bounds(printed)
        assert low - 1e-9 <= value <= high + 1e-9


def test_broken_tables_are_found() -> None:
    assert list(tables.recall_is_accuracy(make_row(test_accuracy_percent=87.43, recall_percent=87.82)))
    assert list(tables.f1_is_bounded(make_row(precision_percent=71.07, recall_percent=70.84, f1_percent=71.97)))
    assert list(tables.f1_is_bounded(make_row(precision_percent=90.11, recall_percent=90.22, f1_percent=79.01)))
    low = CurvePoint(1, train_loss=0.1, train_accuracy_percent=50.0)
    assert 0.5 * math.log(2) > 0.1
    assert list(tables.loss_and_accuracy_are_possible(make_row(epochs=1, curve=[low])))


def test_rounding_alone_is_no_finding() -> None:
    assert not list(tables.recall_is_accuracy(make_row(test_accuracy_percent=85.98, recall_percent=85.99)))
    assert list(tables.recall_is_accuracy(make_row(test_accuracy_percent=85.98, recall_percent=86.01)))
    assert not list(tables.f1_is_bounded(make_row(precision_percent=85.92, recall_percent=85.98, f1_percent=85.95)))


def test_fractions_of_an_image_are_found() -> None:
    # 50,000 images: multiples of 0.002 %; 10,000: of 0.01 %
    assert list(tables.accuracy_counts_images(make_row(train_accuracy_percent=54.897)))
    assert list(tables.accuracy_counts_images(make_row(test_accuracy_percent=54.898)))
    assert not list(tables.accuracy_counts_images(make_row(train_accuracy_percent=54.898)))
    # averaged over batches of which the last is smaller it need not be a multiple
    assert not list(tables.accuracy_counts_images(make_row(data={"batch_size": 32}, train_accuracy_percent=54.897)))
    # 40,000 images: multiples of 0.0025 %
    held_out = {"batch_size": 100, "holdout_images": 10_000}
    assert not list(tables.accuracy_counts_images(make_row(data=held_out, train_accuracy_percent=54.8975)))


def test_epochs_that_do_not_add_up_are_found() -> None:
    two = [CurvePoint(1, seconds=10), CurvePoint(2, seconds=10)]
    assert list(tables.epochs_add_up(make_row(epochs=2, training_seconds=100, curve=two)))
    assert list(tables.epochs_add_up(make_row(epochs=3, training_seconds=15, curve=two)))  # two of three exceed it
    assert not list(tables.epochs_add_up(make_row(epochs=2, training_seconds=20.9, curve=two)))
    assert not list(tables.epochs_add_up(make_row(epochs=3, training_seconds=100, curve=two)))  # one is not printed


def test_uneven_epochs_of_one_configuration_are_unusual() -> None:
    quick = make_row("quick", label="same", epochs=10, training_seconds=100)
    slow = make_row("slow", label="same", epochs=20, training_seconds=400)
    found = list(tables.seconds_per_epoch_agree([quick, slow]))
    assert [(f.strength, f.rows, f.numbers) for f in found] == [
        ("unusual", ("quick", "slow"), {"quick": 10.0, "slow": 20.0})
    ]
    other = make_row("other", label="another", epochs=20, training_seconds=400)
    near = make_row("near", label="same", epochs=20, training_seconds=240)
    assert not list(tables.seconds_per_epoch_agree([quick, other, near]))


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
    assert {f["strength"] for f in content["findings"]} == {"impossible", "contradicts"}


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
