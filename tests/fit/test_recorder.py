"""What a record of schema 2 holds of each epoch, and that it follows from the predictions kept."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cifar_hpc.errors import UserError
from cifar_hpc.fit.recorder import Recorder, RunFacts
from cifar_hpc.fit.trainer import Trainer
from cifar_hpc.models.evaluation import CollectedAnswers
from cifar_hpc.records.record import read_record
from cifar_hpc.verify import recompute
from tests.conftest import COLLECTION, record


def test_every_epoch_has_macro_metrics_and_top5(finished_run: Path) -> None:
    for point in record(finished_run)["curve"]:
        assert point["recall"] == point["test_accuracy"]
        assert 0 <= point["f1"] <= 1
        assert 0 <= point["precision"] <= 1
        assert point["test_accuracy"] <= point["top5_accuracy"] <= 1


def test_printed_epochs_are_kept_with_their_predictions(finished_run: Path) -> None:
    # ghugre's logs print the test accuracy of every epoch; the run had three.
    found = record(finished_run)
    assert list(found["printed"]) == ["1", "2", "3"]
    assert found["printed"]["3"] == found["selection"]["last"]
    names = set(np.load(finished_run / "predictions.npz").files)
    kept = {f"epoch{epoch}_{part}" for epoch in (1, 2) for part in ("class", "confidence", "loss", "rank")}
    assert kept <= names
    assert not any(name.startswith("epoch3") for name in names)  # the last epoch's have plain names


def test_a_run_says_what_computed_it_and_who_shared_the_machine(finished_run: Path) -> None:
    found = record(finished_run)
    assert found["engine"]["kernels"] == "ours"
    assert 0 <= found["time"]["load"] <= 1


@pytest.mark.parametrize(
    ("row", "epochs"),
    [
        ("shahrin_table2_row1", (159, 349)),
        ("shahrin_table2_row4", (159, 349)),
        ("shahrin_table2_row5", (25,)),
        ("ghugre_sequential", (*range(1, 16), *range(38, 51))),
        ("luo_workload1_vgg", (10,)),
        ("ashraf_cifar10_vgg16", (100,)),
    ],
)
def test_printed_epochs_of_the_whole_experiment(row: str, epochs: tuple[int, ...]) -> None:
    assert COLLECTION.printed_epochs(COLLECTION.row(row)) == epochs


def test_ranks_are_those_of_a_sort_and_a_right_answer_comes_first() -> None:
    torch.manual_seed(0)
    logits = torch.randn(64, 10).mul(4).round()  # with equal ones
    logits[7] = float("nan")
    labels = torch.arange(64) % 10
    answers = CollectedAnswers(10)
    answers.update(logits, labels, torch.arange(64))
    found = answers.evaluation()
    assert ((found.ranks == 0) == (found.predicted == found.labels)).all()
    for row, label, rank in zip(logits.softmax(1).tolist(), labels.tolist(), found.ranks.tolist(), strict=True):
        if row[0] == row[0]:
            assert rank == sorted(range(10), key=lambda c: (-row[c], c)).index(label)
    assert found.metrics["top5_accuracy"] == float((found.ranks < 5).double().mean())
    assert found.ranks[7] == labels[7]  # of a network that diverged no class is likelier than another


Forgery = Callable[[dict[str, Any], dict[str, Any]], None]


def better_on_the_way(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["printed"]["1"]["f1"] = 0.9


def better_curve(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["curve"][0]["precision"] = 0.9


def better_top5(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    record["selection"]["last"]["top5_accuracy"] = 1.0


def forged_ranks(record: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["rank"][:] = 0
    record["selection"]["last"]["top5_accuracy"] = record["printed"]["3"]["top5_accuracy"] = 1.0


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (better_on_the_way, "printed.1.f1"),
        (better_curve, "printed.1.precision"),
        (better_top5, "selection.last.top5_accuracy"),
        (forged_ranks, "number of selection.last's ranks that their classes rule out"),
    ],
)
def test_forged_epochs_are_refused(finished_run: Path, tmp_path: Path, forge: Forgery, told: str) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    content = record(folder)
    with np.load(folder / "predictions.npz") as kept:
        arrays = dict(kept.items())
    forge(content, arrays)
    np.savez_compressed(folder / "predictions.npz", **arrays)
    content["predictions_sha256"] = hashlib.sha256((folder / "predictions.npz").read_bytes()).hexdigest()
    (folder / "result.json").write_text(json.dumps(content))
    assert told in [c.what for c in recompute.check_record(read_record(folder / "result.json")) if not c.agrees]


def test_predictions_of_a_printed_epoch_must_be_there(finished_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with np.load(folder / "predictions.npz") as kept:
        np.savez(folder / "predictions.npz", **{k: v for k, v in kept.items() if not k.startswith("epoch1_")})
    with pytest.raises(UserError, match=r"holds no predictions of printed\.1"):
        recompute.check_record(read_record(folder / "result.json"))


def test_a_checkpoint_of_an_earlier_version_is_told(tmp_path: Path) -> None:
    facts = RunFacts("row", None, 1, 1, (), (), "Model", 1, "", {})
    with pytest.raises(UserError, match="begun by an earlier version of cifar_hpc"):
        Recorder(tmp_path, facts).load_state_dict({"curve": [], "fit_seconds": 1.0})


@pytest.mark.parametrize(("limit", "tier"), [(None, "full"), (1.0, "full"), (1, "smoke"), (0.5, "smoke")])
def test_one_batch_an_epoch_is_not_the_whole_row(tmp_path: Path, limit: float | None, tier: str) -> None:
    recorder = Recorder(tmp_path, RunFacts("row", None, 1, 0, (), (), "Model", 1, "", {}))
    trainer = Trainer(limit_train_batches=limit, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert recorder._tier(trainer, whole_dataset=True) == tier
