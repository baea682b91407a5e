"""Runs that something ended before their last epoch: recorded as what they are, resumed to the bits of a whole one."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar_hpc.verify.reader import read
from tests.conftest import SEQUENTIAL, Command, record, same, weights

EPOCHS = "--trainer.max_epochs=3"
STEPS = 16
"""Of an epoch of the sample."""


def stopping(tmp_path: Path, **arguments: Any) -> list[str]:
    """An overlay that stops a run at the first chance."""
    settings = {"monitor": "train/loss", "patience": 1, "min_delta": 100.0} | arguments
    callback = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": settings}
    (tmp_path / "stopping.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
    return ["-c", str(tmp_path / "stopping.yaml")]


@pytest.mark.parametrize(
    ("steps", "done"), [(2 * STEPS, 2), (2 * STEPS - 3, 1), (STEPS + 1, 1)], ids=["an epoch's end", "amid", "begun"]
)
def test_steps_end_a_run_that_goes_on_to_the_same_bits(
    finished_run: Path, command: Command, steps: int, done: int
) -> None:
    fit = ["fit", *SEQUENTIAL, EPOCHS, "--run_dir", "run"]
    ended = command(*fit, f"--trainer.max_steps={steps}")
    assert ended.status == 0, ended.err
    assert f"Ended by trainer.max_steps: {steps}, after {done} of 3 epochs" in ended.out
    assert "`--run_dir run --resume` and a larger trainer.max_steps, or none, goes on" in ended.out
    assert "Verdict" not in ended.out
    found = record(Path("run"))
    assert (found["status"], found["ended"], found["epochs"]["done"]) == (
        "partial",
        f"trainer.max_steps: {steps}",
        done,
    )
    assert found["changed_from_row"]["trainer.max_steps"] == [-1, steps]
    whole = record(finished_run)
    for point, expected in zip(found["curve"], whole["curve"], strict=False):
        assert {k: v for k, v in point.items() if "seconds" not in k} == {
            k: v for k, v in expected.items() if "seconds" not in k
        }
    # What was tested is the last whole epoch's network, of whatever came after it.
    assert found["selection"]["last"]["test_accuracy"] == found["curve"][-1]["test_accuracy"]
    assert sorted(file.name for file in Path("run/checkpoints").iterdir())[-1] == f"epoch{done:04d}.ckpt"
    assert not read([Path("run/result.json")]).problems
    resumed = command(*fit, "--resume")
    assert resumed.status == 0, resumed.err
    found = record(Path("run"))
    assert found["status"] == "complete"
    assert "ended" not in found
    assert "trainer.max_steps" not in found["changed_from_row"]
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["max_steps"] == -1
    assert same(weights(finished_run, 3), weights(Path("run"), 3))
    assert found["selection"] == whole["selection"]


def test_a_first_epoch_cut_short_leaves_nothing_measured(finished_run: Path, command: Command) -> None:
    fit = ["fit", *SEQUENTIAL, EPOCHS, "--run_dir", "run"]
    ended = command(*fit, "--trainer.max_steps=5")
    assert ended.status == 0, ended.err
    assert "after 0 of 3 epochs" in ended.out
    assert "Test accuracy" not in ended.out
    found = record(Path("run"))
    assert (found["status"], found["ended"], found["curve"]) == ("partial", "trainer.max_steps: 5", [])
    assert found["selection"]["last"] is None
    assert command(*fit, "--resume").status == 0
    assert same(weights(finished_run, 3), weights(Path("run"), 3))


def test_time_ends_a_run_that_goes_on_under_more_of_it(finished_run: Path, command: Command) -> None:
    fit = ["fit", *SEQUENTIAL, "--run_dir", "run", "--trainer.max_epochs=100000"]
    ended = command(*fit, "--trainer.max_time=00:00:00:02")
    assert ended.status == 0, ended.err
    assert "Ended by trainer.max_time, after" in ended.out
    found = record(Path("run"))
    assert (found["status"], found["ended"]) == ("partial", "trainer.max_time")
    done = found["epochs"]["done"]
    again = command(*fit, "--trainer.max_time=00:00:00:04", "--resume")
    assert again.status == 0, again.err
    assert record(Path("run"))["epochs"]["done"] >= done
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["max_time"] == "00:00:00:04"
    same_time = command(*fit, "--trainer.max_time=00:00:00:04", "--resume")
    assert same_time.status == 0, same_time.err
    assert record(Path("run"))["ended"] == "trainer.max_time"


def test_early_stopping_ends_a_run_that_goes_on_with_it_only(command: Command, tmp_path: Path) -> None:
    fit = ["fit", *SEQUENTIAL, EPOCHS, "--run_dir", "run"]
    stop = stopping(tmp_path)
    ended = command(*fit, *stop)
    assert ended.status == 0, ended.err
    assert "Ended by EarlyStopping" in ended.out
    assert "`--run_dir run --resume` goes on" in ended.out
    found = record(Path("run"))
    assert found["status"] == "partial"
    assert found["ended"].startswith("EarlyStopping: Monitored metric train/loss did not improve")
    assert found["epochs"]["done"] == 2
    assert found["changed_from_row"]["trainer.callbacks"][0] is None
    assert "trainer.callbacks" in command(*fit, "--resume").sentence()
    assert command(*fit, *stop, "--resume").status == 0
    assert record(Path("run"))["status"] == "complete"  # the third epoch was its last


def test_a_run_that_something_could_have_ended_and_did_not_is_complete(command: Command, tmp_path: Path) -> None:
    fit = ["fit", *SEQUENTIAL, EPOCHS, "--run_dir", "run", *stopping(tmp_path, patience=9)]
    done = command(*fit, f"--trainer.max_steps={3 * STEPS}", "--trainer.max_time=09:00:00:00")
    assert done.status == 0, done.err
    assert record(Path("run"))["status"] == "complete"
    assert "ended" not in record(Path("run"))


def test_a_directory_that_is_moved_away_ends_its_run_in_one_sentence(tmp_path: Path) -> None:
    folder, moved = tmp_path / "run", tmp_path / "moved"
    started = [sys.executable, "-m", "cifar_hpc", "fit", *SEQUENTIAL, "--trainer.max_epochs=500", "--run_dir", folder]
    with subprocess.Popen(list(map(str, started)), stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        while not (folder / "checkpoints" / "epoch0001.ckpt").exists() and process.poll() is None:
            time.sleep(0.05)
        folder.rename(moved)
        lines = process.stderr.read().splitlines()
    assert process.returncode == 2
    assert f"{folder} was moved or removed while its run was at work" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_a_timer_ends_a_run_as_a_limit_does(command: Command) -> None:
    timer = '[{"class_path": "Timer", "init_args": {"duration": "00:00:00:00", "interval": "epoch"}}]'
    done = command("fit", *SEQUENTIAL, "--run_dir", "run", f"--trainer.callbacks={timer}", "--trainer.max_epochs=9")
    assert done.status == 0, done.err
    assert record(Path("run"))["status"] == "partial"
