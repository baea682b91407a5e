"""Times, curve and TensorBoard under every schedule of evaluations that Lightning allows."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cifar_hpc.verify.reader import read
from tests.conftest import SEQUENTIAL, Command, record

EPOCHS, STEPS = 3, 16
SCHEDULES: dict[str, tuple[list[str], list[int] | None]] = {
    "each epoch": ([], [1, 2, 3]),
    "every second epoch": (["--trainer.check_val_every_n_epoch=2"], [2]),
    "twice an epoch": (["--trainer.val_check_interval=0.5"], [1, 2, 3]),
    "after five steps": (["--trainer.val_check_interval=5"], []),
    "after five of all steps": (["--trainer.val_check_interval=5", "--trainer.check_val_every_n_epoch=null"], []),
    "once in 32 steps": (["--trainer.val_check_interval=32", "--trainer.check_val_every_n_epoch=null"], [2]),
    "every second epoch, twice": (
        ["--trainer.val_check_interval=0.5", "--trainer.check_val_every_n_epoch=2"],
        [2],
    ),
    "by the clock": (["--trainer.val_check_interval=00:00:00:01", "--trainer.check_val_every_n_epoch=null"], None),
    "never": (["--trainer.limit_val_batches=0"], []),
    "before it all": (["--trainer.num_sanity_val_steps=2"], [1, 2, 3]),
    "of a part": (["--trainer.limit_val_batches=2", "--data.eval_batch_size=50"], []),
}
"""Flags, and the epochs behind whose last step every test image is looked at; None where the machine decides."""


def steps(folder: Path, tag: str) -> list[int]:
    """The steps that TensorBoard's files have of a curve, of all files together."""
    found = []
    for file in folder.glob("events*"):
        events = EventAccumulator(str(file))
        events.Reload()
        found += [e.step for e in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []
    return sorted(found)


@pytest.mark.parametrize("name", SCHEDULES)
def test_curve_and_times_are_right(name: str, finished_run: Path, command: Command) -> None:
    flags, evaluated = SCHEDULES[name]
    done = command("fit", *SEQUENTIAL, f"--trainer.max_epochs={EPOCHS}", "--run_dir", "run", *flags)
    assert done.status == 0, done.err
    found, usual = record(Path("run")), record(finished_run)
    assert found["status"] == "complete"
    if evaluated is None:
        evaluated = [point["epoch"] for point in found["curve"] if point["test_loss"] is not None]
    for point, expected in zip(found["curve"], usual["curve"], strict=True):
        looked = point["epoch"] in evaluated
        assert point["train_loss"] == expected["train_loss"]  # whatever is looked at, training goes the same way
        for key in ("test_loss", "test_accuracy", "top5_accuracy", "precision", "recall", "f1"):
            assert point.get(key) == (expected[key] if looked else None), (point["epoch"], key)
        assert point["train_seconds"] > 0
    time = found["time"]
    assert time["train_seconds"] == pytest.approx(sum(point["train_seconds"] for point in found["curve"]))
    assert time["eval_seconds"] == pytest.approx(sum(point["eval_seconds"] for point in found["curve"]))
    assert time["fit_seconds"] >= time["train_seconds"] + time["eval_seconds"]
    assert time["images_per_second"] == pytest.approx(3 * 500 / time["train_seconds"])
    last, expected = found["selection"]["last"], usual["selection"]["last"]
    # Batches of another size may round otherwise.
    assert last == (pytest.approx(expected, rel=1e-6) if "--data.eval_batch_size=50" in flags else expected)
    best = found["selection"]["best_test"]
    if evaluated:
        accuracies = {epoch: found["curve"][epoch - 1]["test_accuracy"] for epoch in evaluated}
        assert best["test_accuracy"] == max(accuracies.values())
    else:
        assert best is None
    assert sorted(found["printed"]) == sorted({str(epoch) for epoch in [*evaluated, EPOCHS]})
    assert not read([Path("run/result.json")]).problems
    told = [line for line in done.err.splitlines() if line.startswith("epoch ")]
    assert [("test accuracy" in line) for line in told] == [epoch in evaluated for epoch in (1, 2, 3)] or (
        name == "of a part"
    )
    curve = steps(Path("run"), "test/accuracy")
    assert curve == (evaluated if name != "of a part" else [1, 2, 3])
    assert steps(Path("run"), "train/loss") == [1, 2, 3]


def test_an_epochs_time_is_that_of_all_its_evaluations(command: Command) -> None:
    twice: dict[str, Any] = {}
    for name, flags in (("once", []), ("often", ["--trainer.val_check_interval=0.125"])):
        done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=2", "--run_dir", name, *flags)
        assert done.status == 0, done.err
        twice[name] = record(Path(name))["curve"][1]["eval_seconds"]
    assert twice["often"] > 2 * twice["once"]  # eight evaluations for one, with room for a busy machine


def test_a_test_of_some_batches_is_kept_without_what_it_says_nothing_of(command: Command) -> None:
    flags = ["--trainer.limit_test_batches=2", "--data.eval_batch_size=50", "--trainer.max_epochs=2"]
    done = command("fit", *SEQUENTIAL, "--run_dir", "run", *flags)
    assert done.status == 0, done.err
    assert "of 100 images" in done.out
    found = record(Path("run"))
    assert found["tier"] == "smoke"
    assert found["selection"]["best_test"] is None
    assert found["printed"] == {}
    assert not read([Path("run/result.json")]).problems


def test_images_per_second_count_what_was_trained_on(command: Command) -> None:
    done = command("fit", *SEQUENTIAL, "--run_dir", "run", "--trainer.limit_train_batches=2", "--trainer.max_epochs=2")
    assert done.status == 0, done.err
    time = record(Path("run"))["time"]
    assert time["images_per_second"] == pytest.approx(2 * 2 * 32 / time["train_seconds"])


def test_a_resumed_run_has_each_step_once(finished_run: Path, command: Command) -> None:
    fit = ["fit", *SEQUENTIAL, f"--trainer.max_epochs={EPOCHS}", "--run_dir", "run"]
    assert command(*fit).status == 0
    # As a kill leaves it after the second epoch was logged and before its checkpoint was whole.
    text = Path("run/result.json").read_text().replace('"status": "complete"', '"status": "partial"')
    Path("run/result.json").write_text(text)
    Path("run/checkpoints/epoch0003.ckpt").unlink()
    events = next(Path("run").glob("events*"))
    events.write_bytes(events.read_bytes()[:-7])
    assert command(*fit, "--resume").status == 0
    for tag in ("train/loss", "test/accuracy", "test/f1"):
        assert Counter(steps(Path("run"), tag)) == {1: 1, 2: 1, 3: 1}, tag
    whole = EventAccumulator("run")
    whole.Reload()
    assert [event.step for event in whole.Scalars("test/accuracy")] == [1, 2, 3]
    assert not list(Path("run").glob(".events*"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], True),
        (["--trainer.logger=false"], False),
        (["--trainer.fast_dev_run=true"], False),
        (["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=csv"], True),
        (["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=own"], True),
    ],
)
def test_tensorboard_is_named_where_it_has_something_to_show(flags: list[str], told: bool, command: Command) -> None:
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--run_dir", "run", *flags)
    assert done.status == 0, done.err
    lines = [line for line in done.out.splitlines() if line.startswith("TensorBoard: ")]
    assert len(lines) == told
    if lines:
        folder = Path(lines[0].rpartition("--logdir ")[2])
        assert steps(folder, "train/loss") == [1]


def test_a_profiler_reports_every_step_and_the_test(process: Command) -> None:
    done = process("fit", *SEQUENTIAL, "--trainer.max_epochs=1", "--trainer.profiler=simple", "--run_dir", "run")
    assert done.status == 0, done.err
    assert "FIT Profiler Report" in done.err
    assert "TEST Profiler Report" in done.err
    row = next(line for line in done.err.splitlines() if "run_training_batch" in line)
    assert row.split("|")[3].strip() == str(STEPS)
    assert "kernels stock: trainer.profiler" in done.err


def test_validate_of_nothing_is_refused(finished_run: Path, command: Command) -> None:
    told = command("validate", *SEQUENTIAL, "--run_dir", finished_run, "--trainer.limit_val_batches=0").sentence()
    assert "trainer.limit_val_batches is 0.0; it must be a share" in told
    done = command("validate", *SEQUENTIAL, "--run_dir", finished_run)
    assert "test (200 images" in done.out
