"""Joint feasibility against a search over all matrices of small cases, and on the sizes of real test sets."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from cifar_hpc.collection.typed import Printed
from cifar_hpc.verify.forensics.joint import Hull, decide, matrix, reach
from cifar_hpc.verify.forensics.printed import share
from cifar_hpc.verify.forensics.question import MATRIX_METRICS, Question

CIFAR10 = (1000,) * 10
SVHN = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)


class Every:
    """The metrics of every confusion matrix over these classes, by brute force over whole rows of the matrix."""

    def __init__(self, sizes: tuple[int, ...], weighted: bool = False) -> None:
        rows = [[r for r in product(range(n + 1), repeat=len(sizes)) if sum(r) == n] for n in sizes]
        picks = np.array(list(product(*(range(len(r)) for r in rows))))
        matrices = np.stack([np.array(own)[picks[:, c]] for c, own in enumerate(rows)], axis=1)
        hits = np.einsum("kcc->kc", matrices)
        self.sums = np.unique(np.concatenate([hits, matrices.sum(axis=1)], axis=1), axis=0)
        hits, predicted = self.sums[:, : len(sizes)], self.sums[:, len(sizes) :]
        weights = np.array(sizes) / sum(sizes) if weighted else np.full(len(sizes), 1 / len(sizes))
        self.values = np.stack(
            [
                hits.sum(axis=1) / sum(sizes),
                (weights * hits / np.maximum(predicted, 1)).sum(axis=1),
                (weights * hits / np.array(sizes)).sum(axis=1),
                (weights * 2 * hits / (np.array(sizes) + predicted)).sum(axis=1),
            ],
            axis=1,
        )

    def prints(self, question: Question) -> bool:
        near = np.ones(len(self.values), dtype=bool)
        for k, metric in enumerate(MATRIX_METRICS):
            ends = getattr(question, metric)
            if ends is not None and metric != "precision":  # which is open where a class is never predicted
                near &= (self.values[:, k] >= float(ends[0]) - 1e-9) & (self.values[:, k] <= float(ends[1]) + 1e-9)
        count = len(question.sizes)
        return any(question.prints(sums[:count], sums[count:]) for sums in self.sums[near])


EVERY = {
    ((10, 10, 10), False): Every((10, 10, 10)),
    ((6, 9, 4), False): Every((6, 9, 4)),
    ((6, 9, 4), True): Every((6, 9, 4), True),
}


def ask(sizes: tuple[int, ...], weighted: bool = False, **printed: Any) -> Question:
    shares: dict[str, Any] = {metric: share(Printed(value)) for metric, value in printed.items()}
    return Question(sizes, **shares, weighted=weighted)


@given(st.data())
def test_small_cases_are_decided_as_by_trying_every_matrix(data: st.DataObject) -> None:
    (sizes, weighted), every = data.draw(st.sampled_from(list(EVERY.items())))
    values = every.values[data.draw(st.integers(0, len(every.values) - 1))]
    decimals = data.draw(st.integers(0, 3))
    texts: dict[str, Any] = {m: f"{100 * v:.{decimals}f}" for m, v in zip(MATRIX_METRICS, values, strict=True)}
    if data.draw(st.booleans()):  # a digit is wrong, or a number is another matrix'
        metric = data.draw(st.sampled_from(MATRIX_METRICS))
        other = every.values[data.draw(st.integers(0, len(every.values) - 1))][MATRIX_METRICS.index(metric)]
        near = min(max(values[MATRIX_METRICS.index(metric)] + data.draw(st.floats(-0.05, 0.05)), 0), 1)
        texts[metric] = f"{100 * data.draw(st.sampled_from([other, near])):.{decimals}f}"
    kept = data.draw(st.sets(st.sampled_from(MATRIX_METRICS), min_size=1))
    question = ask(sizes, weighted, **{m: text for m, text in texts.items() if m in kept})
    found = decide(question)
    assert found.kind == ("possible" if every.prints(question) else "impossible")
    if found.kind == "possible":
        assert question.prints(found.hits, found.predicted)


@given(st.data())
def test_the_hull_refutes_nothing_that_a_matrix_prints(data: st.DataObject) -> None:
    (sizes, weighted), every = data.draw(st.sampled_from(list(EVERY.items())))
    values = every.values[data.draw(st.integers(0, len(every.values) - 1))]
    question = ask(sizes, weighted, **{m: f"{100 * v:.2f}" for m, v in zip(MATRIX_METRICS, values, strict=True)})
    assert Hull(question).refute() is None
    for metric, value in zip(MATRIX_METRICS, values, strict=True):
        ends = reach(question, metric)
        assert ends is not None
        assert ends[0] - 1e-9 <= value <= ends[1] + 1e-9


def three_classes_print(question: Question) -> bool:
    """Whether any matrix of three classes prints so: every hits, every number that is taken for each class."""
    sizes, images = question.sizes, question.images
    assert question.hits is not None
    first, last = (int(side * images) for side in question.hits)
    one, two = np.mgrid[: sizes[0] + 1, : sizes[1] + 1].reshape(2, -1)
    for total in range(first, last + 1):
        hits = np.stack([one, two, total - one - two], axis=1)
        hits = hits[(hits[:, 2] >= 0) & (hits[:, 2] <= sizes[2])]
        recall, (low, high) = (hits / np.array(sizes)).mean(axis=1), question.recall or (0, 1)
        wrong = images - total
        a, b = np.mgrid[: wrong + 1, : wrong + 1].reshape(2, -1)
        false = np.stack([a, b, wrong - a - b], axis=1)[a + b <= wrong]
        for t in hits[(recall >= float(low) - 1e-9) & (recall <= float(high) + 1e-9)]:
            m = t + false
            f1, (low, high) = (2 * t / (np.array(sizes) + m)).mean(axis=1), question.f1 or (0, 1)
            near = (f1 >= float(low) - 1e-9) & (f1 <= float(high) + 1e-9)
            if question.precision is not None:
                precision, (low, high) = (t / np.maximum(m, 1)).mean(axis=1), question.precision
                near &= (precision >= float(low) - 1e-9) & (precision <= float(high) + 1e-9)
            if any(question.prints(t.tolist(), own.tolist()) for own in m[near]):
                return True
    return False


@pytest.mark.parametrize("sizes", [(100, 250, 400), (250, 250, 250)])
def test_hundreds_of_images_are_decided_too(sizes: tuple[int, ...]) -> None:
    rng, kinds = np.random.default_rng(4), set()
    for _ in range(6):
        labels = np.repeat(np.arange(3), sizes)
        right = rng.random(len(labels)) < rng.uniform(0.85, 0.97, 3)[labels]
        values = metrics(labels, np.where(right, labels, rng.integers(0, 3, len(labels))))
        texts: dict[str, Any] = {metric: f"{100 * value:.2f}" for metric, value in values.items()}
        assert decide(ask(sizes, **texts)).kind == "possible"
        # Between the hull and what matrices can reach there is a gap, and where classes differ in size there are many.
        ends = reach(ask(sizes, **texts), "f1")
        assert ends is not None
        for f1 in (f"{100 * ends[1] - 0.004:.2f}", f"{100 * values['f1'] + 0.02:.2f}"):
            question = ask(sizes, **(texts | {"f1": f1}))
            found = decide(question)
            assert found.kind == ("possible" if three_classes_print(question) else "impossible")
            kinds.add((found.kind, found.by))
    assert ("impossible", "trying all") in kinds


def metrics(labels: NDArray[Any], answers: NDArray[Any], average: str = "macro") -> dict[str, float]:
    p, r, f, _ = precision_recall_fscore_support(labels, answers, average=average, zero_division=0)
    return {"accuracy": float((labels == answers).mean()), "precision": p, "recall": r, "f1": f}


def network(rng: np.random.Generator, sizes: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = rng.choice(len(sizes), len(labels), p=rng.dirichlet(np.ones(len(sizes)) * rng.uniform(0.05, 5)))
    return labels, np.where(rng.random(len(labels)) < rng.uniform(0.05, 1, len(sizes))[labels], labels, noise)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([CIFAR10, SVHN, (100,) * 100, (500, 30, 200)]), st.integers(1, 7))
def test_no_honest_row_is_impossible(seed: int, sizes: tuple[int, ...], decimals: int) -> None:
    rng = np.random.default_rng(seed)
    average = str(rng.choice(["macro", "weighted"]))
    values = metrics(*network(rng, sizes), average)
    question = ask(sizes, average == "weighted", **{m: f"{100 * v:.{decimals}f}" for m, v in values.items()})
    assert decide(question, search=False).kind != "impossible"


@pytest.mark.parametrize("sizes", [CIFAR10, SVHN, (100,) * 100])
def test_usual_rows_get_a_witness(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        right = rng.random(len(labels)) < rng.uniform(0.6, 0.95, len(sizes))[labels]
        answers = np.where(right, labels, rng.integers(0, len(sizes), len(labels)))
        texts: dict[str, Any] = {m: f"{100 * v:.2f}" for m, v in metrics(labels, answers).items()}
        question = ask(sizes, **texts)
        found = decide(question)
        assert found.kind == "possible"
        shown = matrix(sizes, found.hits, found.predicted)
        assert shown.min() >= 0
        assert shown.sum(axis=1).tolist() == list(sizes)
        assert (np.diag(shown).tolist(), shown.sum(axis=0).tolist()) == (list(found.hits), list(found.predicted))
        flat = np.repeat(np.arange(shown.size), shown.ravel())
        again = metrics(flat // len(sizes), flat % len(sizes))
        for metric, value in again.items():
            low, high = getattr(question, metric)
            assert float(low) - 1e-9 <= value <= float(high) + 1e-9


def test_proofs_are_checked_exactly() -> None:
    question = ask(CIFAR10, accuracy="86.21", precision="86.22", recall="86.21", f1="88.00")
    found = decide(question)
    assert (found.kind, found.by) == ("impossible", "hull")
    assert Hull(question).proves(found.multipliers)
    assert not Hull(question).proves(tuple(-y for y in found.multipliers))
    assert not Hull(question).proves((Fraction(0),) * 5)
    possible = ask(CIFAR10, accuracy="86.21", precision="86.22", recall="86.21", f1="86.10")
    assert not Hull(possible).proves(found.multipliers)


def test_no_whole_number_of_images() -> None:
    assert decide(ask(CIFAR10, accuracy="54.898")).by == "counting"
    assert decide(ask(CIFAR10, accuracy="54.89")).kind == "possible"


def test_no_matrix_is_made_of_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no matrix"):
        matrix((5, 5), (5, 3), (6, 4))
