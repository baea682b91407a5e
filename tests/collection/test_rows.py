"""Every row's file, found by listing the folder: complete, sound, and able to train."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cifar_hpc.cli import main
from cifar_hpc.collection.defaults import resolve
from cifar_hpc.collection.experiment import flat
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.data import datamodule
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.data.sample import load_sample
from cifar_hpc.records.checkpoints import newest_sound_checkpoint
from tests.conftest import COLLECTION, ROOT, SMOKE, Command, Fit

FILES = [row.path for row in COLLECTION.rows.values() if row.trains]


def test_nothing_is_wrong_in_the_collection() -> None:
    assert FILES
    assert COLLECTION.problems == ()
    assert list(COLLECTION.rows) == [path.stem for path in COLLECTION.row_files]
    assert {row.reproduction.report for row in COLLECTION.rows.values()} == set(COLLECTION.reports)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_is_sound(path: Path) -> None:
    row = COLLECTION.read(path)
    group = row.reproduction
    assert group.row == path.stem
    assert path.stem.startswith(f"{group.report}_")
    assert group.where
    assert group.label
    assert {"architecture", "optimizer", "learning_rate", "batch_size", "epochs", "augmentation"} <= set(group.settings)
    assert all(setting.where for setting in group.settings.values())
    assert path.read_text().startswith(f"# python -m cifar_hpc fit -c {path.stem}\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_says_nothing_that_stands_elsewhere(path: Path) -> None:
    content = read_yaml(path)
    group = content["reproduction"]
    shared = COLLECTION.reports[group["report"]].settings
    assert not set(group.get("settings", {})) & set(shared)
    assert None not in flat(content).values()
    assert group.get("reported", {}).get("curve") != []
    assert "fused" not in path.read_text()


@pytest.fixture
def twenty_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the sample's: on 200 a large network computes for most of a minute, and no other way than on 20."""

    def load(name: str) -> CIFARArrays:
        whole = load_sample(name)
        return replace(whole, test_images=whole.test_images[::10], test_labels=whole.test_labels[::10])

    monkeypatch.setattr(datamodule, "load_sample", load)


def experiments_alike() -> list[list[Path]]:
    """The rows that differ in epochs, devices, batch size and the like alone: with small batches, one run is all's."""
    alike: dict[str, list[Path]] = {}
    for path in FILES:
        config = resolve(COLLECTION.row(path.stem).config)
        told = {"model": config["model"], "data": config["data"] | {"batch_size": 8}}
        alike.setdefault(json.dumps(told, sort_keys=True), []).append(path)
    return list(alike.values())


@pytest.mark.usefixtures("twenty_test_images")
@pytest.mark.parametrize("path", [rows[0] for rows in experiments_alike()], ids=lambda path: path.stem)
def test_row_trains_and_tests_on_the_sample(path: Path, fit_here: Fit) -> None:
    # Small batches: the row's own would take minutes for all rows together.
    steps = ["--data.batch_size=8", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0"]
    fit_here("-c", path, *SMOKE, *steps, "--run_dir", "run")
    record = json.loads(Path("run/result.json").read_text())
    assert (record["row"], record["status"], record["tier"]) == (path.stem, "complete", "smoke")
    assert record["dataset"]["test_images"] == 20
    assert record["model"]["trainable_parameters"] == COLLECTION.read(path).reproduction.trainable_parameters
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
    assert [row["id"] for row in described] == list(COLLECTION.rows)
    table = command("rows").out.splitlines()
    assert all(len(line) <= 80 for line in table)
    assert sum(line.split()[0] in COLLECTION.rows for line in table) == len(COLLECTION.rows)


STUDIES = sorted({path.parent.name for path in COLLECTION.recipes.values()})


def in_study(recipe: Path) -> list[Path]:
    """The rows that a recipe can be added to: its first line names one of them."""
    (row,) = re.findall(r"fit -c (\S+)", recipe.read_text())[:1]
    return [path for path in FILES if path.stem.startswith(row.rpartition("_")[0])]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_changes_one_setting_of_each_row(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipes = {name: path for name, path in COLLECTION.recipes.items() if path.parent.name == study}
    assert len(recipes) > 1
    for name, recipe in recipes.items():
        assert name == f"{study}_{recipe.stem}"
        rows = in_study(recipe)
        assert len(rows) > 1
        for path in rows if recipe is next(iter(recipes.values())) else rows[:1]:
            with pytest.raises(SystemExit):
                main(["fit", "-c", path.stem, "-c", name, "--print_config"])
            printed = yaml.safe_load(capsys.readouterr().out)
            assert (printed["reproduction"]["row"], printed["reproduction"]["recipe"]) == (None, name)
            changed = {k: v for k, v in flat(read_yaml(recipe)).items() if not k.startswith("reproduction.")}
            assert len(changed) == 1
            expected = flat({k: v for k, v in read_yaml(path).items() if k != "reproduction"}) | changed
            assert flat(printed).items() >= expected.items()


@pytest.mark.usefixtures("twenty_test_images")
def test_a_study_runs_on_the_sample(fit_here: Fit) -> None:
    name, recipe = next(iter(COLLECTION.recipes.items()))
    smallest = min(in_study(recipe), key=lambda path: COLLECTION.row(path.stem).reproduction.trainable_parameters or 0)
    few = ["--data.batch_size=8", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0"]
    fit_here("-c", smallest.stem, "-c", name, *SMOKE, *few, "--run_dir", "run")
    record = json.loads(Path("run/result.json").read_text())
    assert (record["row"], record["recipe"], record["status"]) == (None, name, "complete")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_overlays_hold_hardware_or_a_logger_only(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    if path.stem == "smoke":
        assert content == {"trainer": {"max_epochs": 1}, "data": {"sample": True}}
        return
    assert set(content) == {"trainer"}
    hardware = {"accelerator", "devices", "num_nodes", "strategy", "precision", "threads", "benchmark"}
    assert set(content["trainer"]) <= ({"logger"} if path.stem.startswith("logger_") else hardware)
