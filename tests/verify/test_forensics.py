"""The rules on made-up tables that keep and that break them, and on the reports."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cifar_hpc.reproduction import CurvePoint, Reported
from cifar_hpc.verify.forensics import tables as forensics
from tests.conftest import Command


@given(st.integers(0, 2**31), st.integers(2, 10), st.integers(5, 30))
def test_real_tables_keep_the_rules(seed: int, classes: int, per_class: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    predicted = np.where(rng.random(len(labels)) < rng.random(), labels, rng.integers(0, classes, len(labels)))
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    reported = Reported(
        test_accuracy_percent=round(100 * accuracy_score(labels, predicted), 2),
        precision_percent=round(100 * precision, 2),
        recall_percent=round(100 * recall, 2),
        f1_percent=round(100 * f1, 2),
    )
    assert not [*forensics.recall_is_accuracy(reported), *forensics.f1_is_bounded(reported)]


@given(st.integers(0, 2**31), st.integers(2, 10), st.integers(10, 200))
def test_real_losses_keep_the_rule(seed: int, classes: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.uniform(0.1, 5), (images, classes))
    labels = rng.integers(0, classes, images)
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(images), labels]
    accuracy = 100 * (logits.argmax(axis=1) == labels).mean()
    point = CurvePoint(1, train_loss=round(float(losses.mean()), 4), train_accuracy_percent=round(accuracy, 2))
    assert not list(forensics.loss_and_accuracy_are_possible(Reported(epochs=1, curve=[point])))


def test_broken_tables_are_found() -> None:
    assert list(forensics.recall_is_accuracy(Reported(test_accuracy_percent=87.43, recall_percent=87.82)))
    assert list(forensics.f1_is_bounded(Reported(precision_percent=71.07, recall_percent=70.84, f1_percent=71.97)))
    low = CurvePoint(1, train_loss=0.1, train_accuracy_percent=50.0)
    assert 0.5 * math.log(2) > 0.1
    assert list(forensics.loss_and_accuracy_are_possible(Reported(epochs=1, curve=[low])))
    slow = [CurvePoint(1, seconds=10), CurvePoint(2, seconds=10)]
    assert list(forensics.epochs_add_up(Reported(epochs=2, training_seconds=100, curve=slow)))
    assert not list(forensics.epochs_add_up(Reported(epochs=2, training_seconds=20.9, curve=slow)))
    assert not list(forensics.epochs_add_up(Reported(epochs=3, training_seconds=100, curve=slow)))  # one is not printed


def test_rounding_alone_is_no_finding() -> None:
    assert not list(forensics.recall_is_accuracy(Reported(test_accuracy_percent=85.98, recall_percent=85.99)))
    assert not list(forensics.f1_is_bounded(Reported(precision_percent=85.92, recall_percent=85.98, f1_percent=85.95)))


def test_the_reports(command: Command) -> None:
    done = command("audit", "--json", "-")
    assert done.status == 1
    found = {(f["row"], f["rule"]) for f in json.loads(done.out)["findings"]}
    assert found == {
        *((f"shahrin_table2_row{i}", "recall_is_accuracy") for i in (5, 6, 7, 8)),
        ("shahrin_table2_row8", "f1_is_bounded"),
    }
    assert command("audit", "ghugre", "luo").status == 0


@pytest.mark.parametrize("arguments", [["nobody"], ["shahrin", "nobody"]])
def test_unknown_reports_are_told(command: Command, arguments: list[str]) -> None:
    assert "There is no report nobody" in command("audit", *arguments).sentence()
