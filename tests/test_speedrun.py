"""The recipes under configs/speedrun/: that they run, resume, and leave a record with and without augmentation."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import accuracy_score

from cifar_hpc.fit.configuration import CIFARCLI
from tests.conftest import ROOT, Command, Fit, Refuse

RECIPES = sorted((ROOT / "configs" / "speedrun").glob("*.yaml"))
# Two steps an epoch: slow weights start after the third and are pulled on after the fifth.
SMALL = [
    "--data.sample=true", "--data.batch_size=250", "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=3",
    "--trainer.threads=1",
    "--model.init_args.lookahead_epochs=1.5", "--model.init_args.lookahead_steps=2",
    "--model.init_args.resolutions=[24]", "--run_dir",
]  # fmt: skip


def recipe(name: str) -> list[str]:
    return ["-c", str(ROOT / "configs" / "speedrun" / f"{name}.yaml"), *SMALL]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def test_there_are_recipes() -> None:
    assert "cifar10_94" in {path.stem for path in RECIPES}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_name_themselves_and_can_be_built(file: Path) -> None:
    cli = CIFARCLI("fit", ["-c", str(file)])
    assert cli.reproduction.recipe == file.stem
    assert cli.reproduction.row is None
    assert cli.reproduction.name == file.stem
    epochs = cli.config["trainer"]["max_epochs"]
    # The test set must be looked at once, when training is over.
    assert cli.config["trainer"]["check_val_every_n_epoch"] == epochs
    assert len(cli.model.resolutions) == epochs
    assert cli.model.lookahead_epochs < cli.model.decay_epochs <= epochs


def test_a_run_leaves_both_accuracies_and_resumes_to_the_same_bits(fit_here: Fit, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    fit_here(*recipe("cifar10_94"), whole)
    found, predictions = record(whole), np.load(whole / "predictions.npz")
    assert found["row"] is None
    assert found["recipe"] == "cifar10_94"
    last = found["selection"]["last"]
    assert last["test_accuracy"] == pytest.approx(accuracy_score(predictions["label"], predictions["class"]), abs=1e-6)
    assert last["test_accuracy_tta"] == pytest.approx(
        accuracy_score(predictions["label"], predictions["tta_class"]), abs=1e-6
    )
    assert not np.array_equal(predictions["confidence"], predictions["tta_confidence"])
    assert "test_accuracy_tta" not in found["selection"]["best_test"]
    assert [point["test_accuracy"] is None for point in found["curve"]] == [True, True, False]
    assert found["time"]["test_seconds"] > 0
    rates = [point["learning_rate"] for point in found["curve"]]
    assert rates == pytest.approx([0.2255 * (1 - epoch / 8.5) for epoch in range(3)])
    # Stopped after the second epoch, between the start of the slow weights and the first pull on them.
    shutil.copytree(whole, resumed)
    (resumed / "checkpoints" / "epoch0003.ckpt").unlink()
    (resumed / "result.json").write_text(json.dumps(found | {"status": "partial"}))
    stopped = torch.load(resumed / "checkpoints" / "epoch0002.ckpt", weights_only=False)
    assert stopped["lookahead"] is not None
    assert all("momentum_buffer" in state for state in stopped["optimizer_states"][0]["state"].values())
    fit_here(*recipe("cifar10_94"), resumed, "--resume")
    ends = [torch.load(f / "checkpoints" / "epoch0003.ckpt", weights_only=False) for f in (whole, resumed)]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
        assert name not in ends[0]["lookahead"] or torch.equal(value, ends[0]["lookahead"][name])
    assert record(resumed)["selection"] == found["selection"]


def test_alternating_flips_need_the_batched_pipeline(refuse: Refuse, tmp_path: Path) -> None:
    told = refuse("fit", *recipe("cifar10_94"), tmp_path / "run", "--data.pipeline=torchvision")
    assert "data.horizontal_flip: alternating" in told


@pytest.mark.parametrize("setting", ["optimizer.init_args.lr=-1", "optimizer.init_args.lr=0",
                                     "filter_optimizer.init_args.lr=-1"])  # fmt: skip
def test_what_an_optimiser_refuses_is_told_with_its_key(setting: str, command: Command, tmp_path: Path) -> None:
    done = command("fit", *recipe("cifar10_94"), tmp_path / "run", f"--model.init_args.{setting}")
    assert done.status == 2
    assert f"model.init_args.{setting.partition('.')[0]}.init_args" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_recipes_are_described() -> None:
    page = (ROOT / "docs" / "speedrun.md").read_text(encoding="utf-8")
    for path in RECIPES:
        assert path.name in page
        assert yaml.safe_load(path.read_text())["reproduction"] == {"recipe": path.stem}
