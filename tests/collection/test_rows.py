"""Every row's file, found by listing the folder: complete, sound, and able to train."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cifar_hpc.cli import main
from cifar_hpc.collection import reproduction
from cifar_hpc.data import datamodule
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.sample import load_sample
from cifar_hpc.records.checkpoints import newest_sound_checkpoint
from tests.conftest import REPRODUCTIONS, ROOT, SMOKE, Command, Fit

ROWS = {
    *(f"shahrin_table2_row{i}" for i in range(1, 9)),
    *(f"ashraf_{dataset}_{net}" for dataset in ("cifar10", "cifar100") for net in ("alexnet", "vgg16", "resnet50")),
    *("ashraf_scaling_1gpu", "ashraf_scaling_4gpu", "ghugre_sequential", "ghugre_parallel"),
    *("aamir_table1", "aamir_table2", "aamir_table3", "luo_workload1_vgg", "luo_workload1_googlenet"),
    *("luo_workload2_p100", "luo_workload2_k40m"),
}
FILES = reproduction.row_files()


def test_no_row_is_missing_and_none_too_many() -> None:
    assert {path.stem for path in FILES} == ROWS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_is_sound(path: Path) -> None:
    row = reproduction.read_row(path)
    group = row.reproduction
    assert group.row == path.stem
    assert path.stem.startswith(f"{group.report}_")
    assert group.where
    assert group.label
    assert {"architecture", "optimizer", "learning_rate", "batch_size", "epochs", "augmentation"} <= set(group.settings)
    assert all(setting.where for setting in group.settings.values())
    assert path.read_text().startswith(f"# python -m cifar_hpc fit -c reproductions/{path.name}\n")


@pytest.fixture
def twenty_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the sample's: on 200 a large network computes for most of a minute, and no other way than on 20."""

    def load(name: str) -> CIFARArrays:
        whole = load_sample(name)
        return replace(whole, test_images=whole.test_images[::10], test_labels=whole.test_labels[::10])

    monkeypatch.setattr(datamodule, "load_sample", load)


@pytest.mark.usefixtures("twenty_test_images")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_trains_and_tests_on_the_sample(path: Path, fit_here: Fit) -> None:
    # Small batches: the row's own would take minutes for all rows together.
    steps = ["--data.batch_size=8", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0"]
    fit_here("-c", path, *SMOKE, *steps, "--run_dir", "run")
    record = json.loads(Path("run/result.json").read_text())
    assert (record["row"], record["status"], record["tier"]) == (path.stem, "complete", "smoke")
    assert record["dataset"]["test_images"] == 20
    assert record["model"]["trainable_parameters"] == reproduction.read_row(path).reproduction.trainable_parameters
    assert 0 <= record["selection"]["last"]["test_accuracy"] <= 1
    assert newest_sound_checkpoint(Path("run")) is not None  # it loads without running code
    allowed = {
        "data.batch_size",
        "data.sample",
        "trainer.max_epochs",
        "trainer.limit_train_batches",
        "trainer.limit_val_batches",
    }
    assert set(record["changed_from_row"]) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_prints_its_config(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "-c", str(path), "--print_config"])
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["reproduction"]["row"] == path.stem
    assert printed["data"]["batch_size"] == yaml.safe_load(path.read_text())["data"]["batch_size"]


def test_rows_prints_a_table_and_json(command: Command) -> None:
    done = command("rows", "--json", "-")
    assert done.status == 0, done.err
    described = json.loads(done.out)["rows"]
    assert {row["id"] for row in described} == ROWS
    table = command("rows").out.splitlines()
    assert all(len(line) <= 80 for line in table)
    assert sum(line.split()[0] in ROWS for line in table) == len(ROWS)


STUDIES = {
    "ashraf_batch_size": ("ashraf_cifar10_", {"32", "64", "128", "256", "512"}),
    "ashraf_learning_rate": ("ashraf_cifar100_", {"0.01", "0.003", "0.001", "0.0003", "0.0001"}),
}
"""Each study's rows and values."""


def test_the_studies_are_complete() -> None:
    found = {folder.name: {path.stem for path in folder.glob("*.yaml")} for folder in REPRODUCTIONS.glob("ashraf_*/")}
    assert found == {study: values for study, (_, values) in STUDIES.items()}


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_changes_one_setting_of_each_row(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefix, values = STUDIES[study]
    for path in (path for path in FILES if path.stem.startswith(prefix)):
        for value in sorted(values):
            with pytest.raises(SystemExit):
                main(["fit", "-c", str(path), "-c", str(REPRODUCTIONS / study / f"{value}.yaml"), "--print_config"])
            printed = yaml.safe_load(capsys.readouterr().out)
            assert (printed["reproduction"]["row"], printed["reproduction"]["recipe"]) == (None, f"{study}_{value}")
            expected = yaml.safe_load(path.read_text())
            optimizer = printed["model"]["init_args"]["optimizer"]["init_args"]
            if study == "ashraf_batch_size":
                expected["data"]["batch_size"] = int(value)
            else:
                expected["model"]["init_args"]["optimizer"]["init_args"]["lr"] = float(value)
            assert printed["data"].items() >= expected["data"].items()
            assert optimizer.items() >= expected["model"]["init_args"]["optimizer"]["init_args"].items()


@pytest.mark.usefixtures("twenty_test_images")
def test_a_study_runs_on_the_sample(fit_here: Fit) -> None:
    row, study = REPRODUCTIONS / "ashraf_cifar10_vgg16.yaml", REPRODUCTIONS / "ashraf_batch_size" / "32.yaml"
    fit_here("-c", row, "-c", study, *SMOKE, "--trainer.limit_train_batches=1", "--run_dir", "run")
    record = json.loads(Path("run/result.json").read_text())
    assert (record["row"], record["recipe"], record["status"]) == (None, "ashraf_batch_size_32", "complete")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_overlays_hold_hardware_only(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    if path.stem == "smoke":
        assert content == {"trainer": {"max_epochs": 1}, "data": {"sample": True}}
        return
    assert set(content) == {"trainer"}
    hardware = {"accelerator", "devices", "num_nodes", "strategy", "precision", "threads", "benchmark"}
    assert set(content["trainer"]) <= hardware
