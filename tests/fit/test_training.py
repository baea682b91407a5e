"""Whole runs, on the real sample, through the command line as users call it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from cifar_hpc.cli import main
from cifar_hpc.data.sample import load_sample
from cifar_hpc.fit.limits import is_smoke
from cifar_hpc.machine import usable_cores
from cifar_hpc.records import checkpoints, run_directory
from cifar_hpc.records.record import read_record
from cifar_hpc.verify.recompute import check_record
from tests.conftest import (
    HANGING,
    REPRODUCTIONS,
    ROOT,
    SEQUENTIAL,
    SMOKE,
    Command,
    Fit,
    Refuse,
    change,
    record,
    same,
    shared_run,
    weights,
)


def test_run_directory_and_record(finished_run: Path) -> None:
    assert {p.name.split(".")[0] for p in finished_run.iterdir()} >= {
        "config", "result", "predictions", "checkpoints", "events",
    }  # fmt: skip
    found = record(finished_run)
    assert found["schema"] == 2
    assert (found["row"], found["seed"], found["status"], found["tier"]) == (
        "ghugre_sequential", 1, "complete", "smoke",
    )  # fmt: skip
    assert found["epochs"] == {"planned": 15, "done": 3}
    assert found["dataset"]["test_images"] == 200
    assert found["dataset"]["sha256"] == load_sample("cifar10").sha256()
    assert found["model"]["trainable_parameters"] == 122_570
    assert found["changed_from_row"] == {"data.sample": [False, True], "trainer.max_epochs": [15, 3]}
    assert [point["epoch"] for point in found["curve"]] == [1, 2, 3]
    assert all(point["train_seconds"] > 0 and point["eval_seconds"] > 0 for point in found["curve"])
    config = (finished_run / "config.yaml").read_bytes()
    assert found["config_sha256"] == hashlib.sha256(config).hexdigest()
    assert found["time"]["fit_seconds"] >= found["time"]["train_seconds"] + found["time"]["eval_seconds"]
    assert found["selection"]["best_test"]["test_accuracy"] == max(p["test_accuracy"] for p in found["curve"])


def test_metrics_follow_from_the_predictions(finished_run: Path) -> None:
    found, predictions = record(finished_run), np.load(finished_run / "predictions.npz")
    assert np.array_equal(predictions["label"], load_sample("cifar10").test_labels)
    for selection, prefix in (("last", ""), ("best_test", "best_test_")):
        predicted, metrics = predictions[f"{prefix}class"], found["selection"][selection]
        precision, recall, f1, _ = precision_recall_fscore_support(
            predictions["label"], predicted, average="macro", zero_division=0
        )
        assert metrics["test_accuracy"] == pytest.approx(accuracy_score(predictions["label"], predicted), abs=1e-6)
        assert metrics["precision"] == pytest.approx(precision, abs=1e-6)
        assert metrics["recall"] == pytest.approx(recall, abs=1e-6)
        assert metrics["f1"] == pytest.approx(f1, abs=1e-6)
        assert metrics["recall"] == metrics["test_accuracy"]
        assert metrics["test_loss"] == pytest.approx(predictions[f"{prefix}loss"].mean(dtype=np.float64), abs=1e-6)
    assert (predictions["confidence"] >= 0.1).all()


def test_tensorboard_shows_everything_once(finished_run: Path) -> None:
    (file,) = finished_run.glob("events*")
    events = EventAccumulator(str(file))
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) >= {
        "train/loss", "train/accuracy", "train/learning_rate", "train/images_per_second", "test/loss",
        "test/accuracy", "test/precision", "test/recall", "test/f1",
    }  # fmt: skip
    # Every card is a curve: none is a single dot.
    assert all([event.step for event in events.Scalars(name)] == [1, 2, 3] for name in tags["scalars"])
    assert set(tags["images"]) >= {"test/confusion_matrix", "test/mistakes"}
    graphs = [event for event in EventFileLoader(str(file)).Load() if event.graph_def]
    assert len(graphs) == 1
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_tensorboard_has_the_settings(finished_run: Path) -> None:
    (file,) = finished_run.glob("events*")
    events = EventAccumulator(str(file))
    events.Reload()
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert yaml.safe_load((finished_run / "hparams.yaml").read_text()) == config
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    shown = HParamsPluginData.FromString(content).session_start_info.hparams
    assert shown["data.batch_size"].number_value == config["data"]["batch_size"]
    assert shown["model.class_path"].string_value == config["model"]["class_path"]


@pytest.mark.parametrize(
    "flags",
    [["--data.sample=true"], ["-c", "smoke"], ["--trainer.limit_train_batches=2", "--data.sample=true"]],
    ids=["sample", "overlay", "batches"],
)
def test_a_run_on_a_part_of_the_dataset_takes_no_real_runs_place(
    flags: list[str], fit_here: Fit, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    row = [*SEQUENTIAL[:2], *flags, "--trainer.max_epochs=1"]
    fit_here(*row)
    folder = Path("runs/ghugre_sequential/smoke/seed1")
    assert f"Record: {folder}/result.json" in capsys.readouterr().out
    assert list(Path("runs/ghugre_sequential").iterdir()) == [folder.parent]
    assert record(folder)["tier"] == "smoke"
    tested = command("test", *row)  # looks where such runs are
    assert tested.status == 0, tested.err
    assert str(folder) in tested.out


@pytest.mark.parametrize(
    ("changed", "smoke"),
    [
        ({}, False),
        ({"trainer": {"max_epochs": 1}}, False),
        ({"trainer": {"limit_train_batches": 1.0}}, False),
        ({"trainer": {"limit_test_batches": 0.5}}, True),
        ({"trainer": {"limit_val_batches": 0}}, True),
        ({"trainer": {"overfit_batches": 2}}, True),
        ({"trainer": {"fast_dev_run": True}}, True),
        ({"data": {"sample": True}}, True),
    ],
)
def test_what_a_smoke_run_is(changed: dict[str, dict[str, object]], smoke: bool) -> None:
    shares = dict.fromkeys(f"limit_{part}_batches" for part in ("train", "val", "test", "predict"))
    trainer = {**shares, "fast_dev_run": False, "overfit_batches": 0.0}
    config = {"trainer": trainer | changed.get("trainer", {}), "data": {"sample": False} | changed.get("data", {})}
    assert is_smoke(config) is smoke


def test_two_runs_end_in_the_same_bits(finished_run: Path, process: Command, tmp_path: Path) -> None:
    done = process("fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", tmp_path / "again")
    assert done.status == 0, done.err
    assert same(weights(finished_run, 3), weights(tmp_path / "again", 3))
    assert record(finished_run)["selection"] == record(tmp_path / "again")["selection"]


EPOCHS = 12
"""Of runs that a signal stops: enough for it to arrive in time."""


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `EPOCHS` epochs that nothing stopped."""
    return shared_run(tmp_path_factory, EPOCHS)


@pytest.mark.parametrize(("stop", "epoch"), [(signal.SIGKILL, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_stopped_and_resumed_ends_the_same(
    undisturbed: Path, fit_here: Fit, tmp_path: Path, epoch: int, stop: signal.Signals
) -> None:
    fit = [*SEQUENTIAL, f"--trainer.max_epochs={EPOCHS}", "--run_dir", "stopped"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cifar_hpc", "fit", *fit],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        # A child of a background job, as this pytest may be one, would ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    folder = tmp_path / "stopped"
    while not (folder / "checkpoints" / f"epoch{epoch:04d}.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(stop)
    assert process.wait(HANGING) == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[stop]
    assert record(folder)["status"] == "partial"
    assert epoch <= len(record(folder)["curve"]) < EPOCHS
    fit_here(*fit, "--resume")
    assert same(weights(undisturbed, EPOCHS), weights(folder, EPOCHS))
    resumed, whole = record(folder), record(undisturbed)
    assert resumed["selection"] == whole["selection"]
    assert [p["train_loss"] for p in resumed["curve"]] == [p["train_loss"] for p in whole["curve"]]


def test_resume_passes_over_a_damaged_checkpoint(finished_run: Path, command: Command, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (folder / "result.json").write_text(json.dumps(record(folder) | {"status": "partial"}))
    os.truncate(folder / "checkpoints" / "epoch0003.ckpt", 100_000)
    done = command("fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", folder, "--resume")
    assert done.status == 0, done.err
    assert "resuming from epoch0002.ckpt" in done.err
    assert record(finished_run)["selection"] == record(folder)["selection"]
    written = checkpoints.newest_sound_checkpoint(folder)  # in the place of the damaged one
    assert written is not None
    assert same(weights(finished_run, 3), checkpoints.checkpoint_weights(written))


def test_a_run_at_work_is_left_alone(finished_run: Path, refuse: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (folder / "result.json").write_text(json.dumps(record(folder) | {"status": "partial"}))
    with run_directory.hold(folder):
        told = refuse("fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", folder, "--resume")
    assert "still at work" in told


def test_resume_of_another_experiment_is_refused(finished_run: Path, refuse: Refuse, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    unfinished = record(tmp_path / "run") | {"status": "partial"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(unfinished))
    fit = ["fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", str(tmp_path / "run"), "--resume"]
    assert "data.batch_size" in refuse(*fit, "--data.batch_size=64")
    assert "seed_everything" in refuse(*fit, "--seed_everything=2")


def test_nothing_is_overwritten(fit_here: Fit, refuse: Refuse, tmp_path: Path) -> None:
    fit = [*SEQUENTIAL, "--trainer.max_epochs=1"]
    for _ in range(2):
        fit_here(*fit)
    assert sorted(p.name for p in (tmp_path / "runs/ghugre_sequential/smoke").iterdir()) == ["seed1", "seed1-2"]
    first = (tmp_path / "runs/ghugre_sequential/smoke/seed1/result.json").read_bytes()
    told = refuse("fit", *fit, "--run_dir", "runs/ghugre_sequential/smoke/seed1")
    assert "nothing is overwritten" in told
    assert (tmp_path / "runs/ghugre_sequential/smoke/seed1/result.json").read_bytes() == first


def test_a_users_folder_is_left_as_it_is(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    for resume in ([], ["--resume"]):
        told = refuse("fit", *SEQUENTIAL, "--run_dir", tmp_path / "mine", *resume)
        assert "is not empty" in told
        assert "--resume" not in told
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_refused_resumption_leaves_its_run(finished_run: Path, refuse: Refuse, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "result.json").write_text(json.dumps(record(finished_run) | {"status": "partial"}))
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    # The Trainer refuses this when the run's directory is at hand already.
    refuse("fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", tmp_path / "run", "--resume",
           "--trainer.gradient_clip_algorithm=nonsense")  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


def test_a_runs_config_runs_again(finished_run: Path, fit_here: Fit, tmp_path: Path) -> None:
    fit_here("-c", finished_run / "config.yaml", "--run_dir", tmp_path / "again")
    assert record(tmp_path / "again")["selection"] == record(finished_run)["selection"]
    assert record(tmp_path / "again")["changed_from_row"] == record(finished_run)["changed_from_row"]


def test_evaluation_commands_agree_with_the_record(finished_run: Path, command: Command, tmp_path: Path) -> None:
    done = command("test", *SEQUENTIAL, "--run_dir", finished_run)
    assert done.status == 0, done.err
    accuracy = record(finished_run)["selection"]["last"]["test_accuracy"]
    assert f"{accuracy:.3f}" in done.out
    assert command("validate", *SEQUENTIAL, "--run_dir", finished_run).status == 0
    done = command("predict", *SEQUENTIAL, "--run_dir", finished_run, "--output", tmp_path / "out.npz")
    assert done.status == 0, done.err
    ours, kept = np.load(tmp_path / "out.npz"), np.load(finished_run / "predictions.npz")
    assert np.array_equal(ours["class"], kept["class"])
    assert not list(tmp_path.glob(".*"))
    assert (
        "exists"
        in command("predict", *SEQUENTIAL, "--run_dir", finished_run, "--output", tmp_path / "out.npz").sentence()
    )


def test_where_predictions_cannot_go_is_told(finished_run: Path, refuse: Refuse, tmp_path: Path) -> None:
    predict = ["predict", *SEQUENTIAL, "--run_dir", finished_run, "--output"]
    assert "no is no folder to write to" in refuse(*predict, "no/where.npz")
    assert "exists" in refuse(*predict, tmp_path)


def test_a_run_that_diverges_is_recorded(fit_here: Fit, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit_here(*SEQUENTIAL, *SMOKE, "--model.init_args.optimizer.init_args.lr=1e30", "--run_dir", run)
    found = record(run)
    assert (found["status"], found["curve"][0]["train_loss"]) == ("complete", None)
    assert found["selection"]["last"]["test_loss"] is None
    assert found["selection"]["last"]["test_accuracy"] == pytest.approx(0.1)  # one class for every image
    assert all(check.agrees for check in check_record(read_record(run / "result.json")))


def test_holdout_selection_is_recorded(fit_here: Fit, tmp_path: Path) -> None:
    fit_here(
        *SEQUENTIAL,
        "--trainer.max_epochs=2",
        "--data.holdout_images=5000",
        "--run_dir",
        tmp_path / "run",
    )
    found = record(tmp_path / "run")
    assert found["dataset"]["train_images"] == 450
    best = max(found["curve"], key=lambda point: point["holdout_accuracy"])
    assert found["selection"]["best_holdout"]["epoch"] == best["epoch"]
    assert found["selection"]["best_holdout"]["test_accuracy"] == best["test_accuracy"]


def test_reference_pipeline_trains_on_the_same_batches(finished_run: Path, fit_here: Fit, tmp_path: Path) -> None:
    # Without augmentation both pipelines give the same pixels, so the runs must agree to rounding.
    fit_here(
        *SEQUENTIAL,
        "--trainer.max_epochs=1",
        "--data.pipeline=torchvision",
        "--run_dir",
        tmp_path / "run",
    )
    ours, theirs = record(finished_run)["curve"][0], record(tmp_path / "run")["curve"][0]
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
    assert "data.pipeline" not in record(tmp_path / "run")["changed_from_row"]


def test_threads_are_set_and_recorded(fit_here: Fit, tmp_path: Path) -> None:
    fit_here(*SEQUENTIAL, "--trainer.max_epochs=1", "--trainer.threads=1", "--run_dir", tmp_path / "run")
    assert record(tmp_path / "run")["hardware"]["threads"] == 1


@pytest.mark.parametrize("overlay", ["cpu", "cpu_bf16"])
def test_overlays_change_no_experiment(fit_here: Fit, tmp_path: Path, overlay: str) -> None:
    fit_here("-c", REPRODUCTIONS / "ghugre_parallel.yaml", "-c", ROOT / "configs" / f"{overlay}.yaml",
        "-c", ROOT / "configs" / "smoke.yaml", "--run_dir", tmp_path / "run",
    )  # fmt: skip
    found = record(tmp_path / "run")
    assert set(found["changed_from_row"]) == {"data.sample", "trainer.max_epochs"}
    assert found["hardware"]["precision"] == ("bf16-mixed" if overlay == "cpu_bf16" else "32-true")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_names_the_overlay(refuse: Refuse, tmp_path: Path) -> None:
    told = refuse("fit", "-c", REPRODUCTIONS / "ghugre_parallel.yaml")
    assert "ghugre_parallel.yaml" in told
    assert "-c cpu" in told
    assert not (tmp_path / "runs").exists()


def edited(tmp_path: Path, **changes: Any) -> Path:
    """A row's file with some values changed; keys as `group__key`."""
    config = yaml.safe_load((REPRODUCTIONS / "ghugre_sequential.yaml").read_text())
    for key, value in changes.items():
        change(config, key.replace("__", "."), value)
    file = tmp_path / "ghugre_sequential.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trainer__no_such_key": 1}, "trainer has the key no_such_key"),
        ({"model__init_args__optimiser": 1}, "optimiser"),
        ({"trainer__max_epochs": "many"}, "trainer.max_epochs"),
        ({"trainer__threads": 0}, "trainer.threads"),
        ({"data__batch_size": 0}, "data.batch_size"),
        ({"data__dataset": "mnist"}, "data.dataset"),
        ({"model__class_path": "os.system"}, "os.system"),
        ({"model__class_path": "cifar_hpc.models.NoSuch"}, "NoSuch"),
        ({"reproduction__row": "another_row"}, "reproduction.row"),
        ({"reproduction__reported__test_accuracy_percent": 171.0}, "test_accuracy_percent"),
        ({"reproduction__settings__epochs__origin": "guessed"}, "origin"),
        ({"reproduction__trainable_parameters": 5}, "trainable_parameters"),
        ({"seed_everything": True}, "seed_everything"),
        ({"seed_everything": 2**32}, "seed_everything is 4294967296"),
        (
            {"trainer__precision": "nonsense"},
            "trainer.precision is nonsense; it must be one of auto, 32-true",
        ),
        ({"trainer__max_epochs": 0}, "trainer.max_epochs is 0; it must be a whole number of at least 1"),
        ({"trainer__max_epochs": None}, "trainer.max_epochs is null"),
        ({"trainer__threads": 1000}, "trainer.threads is 1000; it must be at most"),
        ({"trainer__devices": -3}, "trainer.devices is -3"),
        ({"model__init_args__num_classes": 5}, "num_classes is 5, but cifar10 has 10 classes"),
    ],
)
def test_bad_values_are_told_in_one_sentence(
    refuse: Refuse, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    sentence = refuse("fit", "-c", edited(tmp_path, **changes), "--data.sample=true")
    assert told in sentence
    assert "ghugre_sequential" in sentence
    assert len(sentence) < 400, sentence
    assert not (tmp_path / "runs").exists()


def test_missing_and_broken_files_are_told(refuse: Refuse, tmp_path: Path) -> None:
    assert "no_such.yaml" in refuse("fit", "-c", "no_such.yaml")
    (tmp_path / "broken.yaml").write_text("trainer: [unclosed")
    assert "broken.yaml" in refuse("fit", "-c", "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    assert "list.yaml" in refuse("fit", "-c", "list.yaml")


FLAGS = {
    "--trainer.no_such=1": "--trainer.no_such=1 is not known",
    "--trainer.threads=0": "The command line: trainer.threads",
    "--trainer.threads=1000": "trainer.threads is 1000; it must be at most",
    "--trainer.precision=nonsense": "The command line: trainer.precision is nonsense; it must be one of auto, 32-true",
    "--trainer.max_epochs=0": "trainer.max_epochs is 0; it must be a whole number of at least 1",
    "--trainer.max_epochs=-1": "trainer.max_epochs is -1",
    "--trainer.min_epochs=99": "trainer.min_epochs is 99",
    "--trainer.max_steps=0": "trainer.max_steps is 0",
    "--trainer.max_time=00:00:00:00": "trainer.max_time",
    "--trainer.limit_train_batches=0": "trainer.limit_train_batches",
    "--trainer.limit_train_batches=2.5": "trainer.limit_train_batches is 2.5; it must be a share",
    "--trainer.limit_test_batches=0": "trainer.limit_test_batches",
    "--trainer.limit_val_batches=-2": "trainer.limit_val_batches",
    "--trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches is 0",
    "--trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch is 0",
    "--trainer.val_check_interval=0": "trainer.val_check_interval",
    "--trainer.gradient_clip_val=-1": "trainer.gradient_clip_val",
    "--trainer.devices=nonsense": "trainer.devices is nonsense",
    "--trainer.num_nodes=0": "trainer.num_nodes is 0",
    "--data.holdout_images=50000": "data.holdout_images is 50000, but cifar10 has 50000",
    "--data.holdout_seed=-1": "data.holdout_seed is -1",
    "--data.crop_padding=32": "data.crop_padding is 32; it must be at most 31",
    "--data.horizontal_flip=maybe": "data.horizontal_flip is maybe; it must be true or false or one of 'alternating'",
    "--data=nothing": "The command line: data is nothing; it must be a mapping or a file that",
    "--data.num_workers=1000": "data.num_workers is 1000; it must be at most",
    "--data.seed=5": "The command line: data.seed follows from seed_everything",
    "--data.dataset=cifar100": "num_classes is 10, but cifar100 has 100 classes",
    "--seed_everything=-1": "The command line: seed_everything is -1",
    "--seed_everything=99999999999": "The command line: seed_everything is 99999999999",
    "--seed_everything=true": "The command line: seed_everything is True",
    "--model=nonsense": "The command line: model is nonsense; it must be a mapping of class_path",
    "--model.init_args.optimizer=nonsense": "model.init_args.optimizer is nonsense; it must be a mapping of class_path",
    "--model.init_args.optimizer.class_path=torch.optim.No": "The command line: model.init_args.optimizer names",
    "--trainer.callbacks=LearningRateFinder": "it must be without LearningRateFinder",
    '--trainer.callbacks=[{"class_path": "ModelCheckpoint"}, {"class_path": "BatchSizeFinder"}]': "no record tells",
    '--trainer.strategy={"class_path": "DDPStrategy", "init_args": {"no_such": 1}}': "init_args that the class takes",
    "--run_dir": "The command line: --run_dir: expected one argument",
    "reproductions/ghugre_sequential.yaml": "is not known; a row is named with -c before it",
}


@pytest.mark.parametrize("flag", FLAGS)
def test_bad_flags_are_told(flag: str, refuse: Refuse, tmp_path: Path) -> None:
    assert FLAGS[flag] in refuse("fit", *SEQUENTIAL, flag)
    assert list(tmp_path.iterdir()) == []


def test_no_row_is_told(refuse: Refuse) -> None:
    assert "`-c ROW`" in refuse("fit")
    assert "`-c ROW`" in refuse("fit", "-c", ROOT / "configs" / "cpu.yaml")


def test_more_threads_than_cores_are_the_rows_choice(
    fit_here: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = usable_cores()
    threads = cores + 1  # as shahrin's four on two cores
    fit_here(*SEQUENTIAL, *SMOKE, f"--trainer.threads={threads}", "--run_dir", tmp_path / "run")
    assert record(tmp_path / "run")["hardware"]["threads"] == threads
    assert f"{threads} threads on {cores} cores (trainer.threads: {cores} would be faster)" in capsys.readouterr().err


def test_a_share_of_no_batches_is_told_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["fit", *SEQUENTIAL, *SMOKE, "--trainer.limit_train_batches=1e-9", "--run_dir", str(run)]) == 2
    # After the two lines on what was to run.
    assert "trainer.limit_train_batches does not fit the data" in capsys.readouterr().err.splitlines()[-1]
    assert not run.exists()


def test_resume_of_a_complete_run_says_that_a_new_one_starts(
    finished_run: Path, fit_here: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs" / "ghugre_sequential" / "smoke"
    shutil.copytree(finished_run, runs / "seed1")
    fit_here(*SEQUENTIAL, *SMOKE, "--resume")
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "runs/ghugre_sequential/smoke/seed1 is complete, so there is nothing to resume: a new run starts"
    assert record(runs / "seed1-2")["status"] == "complete"
    fit_here(*SEQUENTIAL, *SMOKE)
    assert "resume" not in capsys.readouterr().err


def test_unwritable_run_directory_is_told(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = refuse("fit", *SEQUENTIAL, "--run_dir", tmp_path / "file" / "run")
    assert "cannot be written" in told


def test_missing_data_is_told_before_anything_is_made(refuse: Refuse, tmp_path: Path) -> None:
    told = refuse("fit", "-c", REPRODUCTIONS / "ghugre_sequential.yaml", "--data.root", tmp_path / "nothing")
    assert "data fetch --dataset cifar10" in told
    assert not (tmp_path / "runs").exists()


def test_what_torch_refuses_is_told_and_leaves_nothing(
    finished_run: Path, command: Command, refuse: Refuse, tmp_path: Path
) -> None:
    done = command("fit", *SEQUENTIAL, "--model.init_args.optimizer.init_args.lr=-1")
    assert done.status == 2
    assert "Invalid learning rate" in done.err.splitlines()[-1]  # after the two lines on what was to run
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()
    (tmp_path / "no.ckpt").write_text("no checkpoint")
    assert "no.ckpt" in refuse("test", "-c", finished_run / "config.yaml", "--ckpt_path", tmp_path / "no.ckpt")
