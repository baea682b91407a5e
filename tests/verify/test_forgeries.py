"""What a forger could write without training: each is refused, and the sentence says what gave it away."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.records.predictions import Answers, Predictions
from cifar_hpc.verify import reader, recompute
from cifar_hpc.verify.copies import Originals, learned
from tests import made_up
from tests.conftest import ROOT, Command, change

Forge = Callable[[Path, dict[str, Any], dict[str, Any]], None]
RESULTS = ROOT / "results"


def forged(folder: Path, forge: Forge) -> Path:
    """A kept run that was changed by somebody who knows of the digests."""
    made_up.copy_of_kept(folder)
    content = json.loads((folder / "result.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    forge(folder, content, config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    made_up.seal(folder, content, made_up.answers(1))
    return folder / "result.json"


def in_config(key: str, value: Any) -> Forge:
    return lambda folder, content, config: change(config, key, value)


def in_record(key: str, value: Any) -> Forge:
    return lambda folder, content, config: change(content, key, value)


def one_epoch(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
    """A whole row, after one epoch."""
    del content["curve"][1:]
    content["epochs"] = {"planned": 1, "done": 1}
    for selected in content["selection"].values():
        selected |= {key: content["curve"][0][key] for key in ("epoch", "train_accuracy", "train_loss")}
    config["trainer"]["max_epochs"] = 1
    made_up.settle(content)


def whole_after_one_batch(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
    config["trainer"]["limit_train_batches"] = 1
    content["changed_from_row"] = {"trainer.limit_train_batches": [None, 1]}


def fewer_images(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
    content["dataset"]["train_images"] = 40_000
    made_up.settle(content)


def whole_on_the_sample(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
    config["data"]["sample"] = True
    content["changed_from_row"] = {"data.sample": [False, True]}


OPTIMIZER = "model.init_args.optimizer"


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (in_config(f"{OPTIMIZER}.init_args.lr", 0.01), f"changed_from_row.{OPTIMIZER}.init_args.lr is null, but from"),
        (in_config("trainer.max_epochs", 30), "changed_from_row.trainer.max_epochs is null, but from config.yaml and"),
        (in_config("data.batch_size", 64), "follows [32, 64]"),
        (in_config(f"{OPTIMIZER}.init_args.weight_decay", 0.1), "init_args.weight_decay is null, but from"),
        (in_config(f"{OPTIMIZER}.class_path", "torch.optim.SGD"), 'follows ["torch.optim.Adam", "torch.optim.SGD"]'),
        (in_config("data.horizontal_flip", True), "follows [false, true]"),
        (in_config("data.crop_padding", 4), "follows [0, 4]"),
        (in_config("data.holdout_images", 5), "changed_from_row.data.holdout_images"),
        (in_config("trainer.gradient_clip_val", 1.0), "follows [null, 1.0]"),
        (in_config("trainer.accumulate_grad_batches", 2), "follows [1, 2]"),
        (in_config("data.batch_size", ...), "follows [32, 128]"),
        (in_record("changed_from_row", {"data.batch_size": [32, 64]}), "is [32, 64], but from config.yaml"),
        (one_epoch, "epochs.planned is 1, but from the row follows 15"),
        (whole_after_one_batch, "tier is full, but from config.yaml"),
        (whole_on_the_sample, "tier is full, but from config.yaml"),
        (in_record("tier", "smoke"), "tier is smoke, but from config.yaml"),
        (fewer_images, "tier is full, but from config.yaml"),
        (
            in_record("dataset.test_images", 10),
            "dataset.test_images is 10, but from the official cifar10 follows",
        ),
        (in_record("curve", []), "curve must hold one mapping for each of the 15 epochs that are done"),
        (in_record("curve.14", ...), "curve must hold one mapping for each of the 15 epochs that are done"),
        (
            in_record("curve.14.test_accuracy", 0.7),
            "selection.last.test_accuracy is 0.7106, but from the curve's epoch 15",
        ),
        (in_record("curve.14.test_loss", 0.8), "selection.last.test_loss"),
        (in_record("curve.14.train_accuracy", 0.9), "selection.last.train_accuracy"),
        (in_record("selection.last.train_loss", None), "selection.last.train_loss is null"),
        (in_record("time.fit_seconds", 1), "time.fit_seconds is 1.0, but its epochs alone take"),
        (in_record("time.train_seconds", 1), "time.train_seconds is 1.0, but from the curve follows"),
        (in_record("curve.3.train_seconds", 0.5), "time.train_seconds is"),
        (in_record("time.images_per_second", 1e6), "time.images_per_second is 1000000"),
        (in_record("time.first_epoch_seconds", 1), "time.first_epoch_seconds is 1"),
        (in_record("curve.3.learning_rate", 0.01), "curve.3.learning_rate is 0.01, but from config.yaml follows 0.001"),
        (
            in_record("model.trainable_parameters", 9),
            "model.trainable_parameters is 9, but from ghugre_sequential.yaml",
        ),
    ],
)
def test_forgeries_are_refused(command: Command, tmp_path: Path, forge: Forge, told: str) -> None:
    # What neither file says is as the parser fills it in.
    file = forged(tmp_path / "run", forge)
    sentence = command("verify", file).sentence()
    assert told in sentence
    assert str(file) in sentence


def test_without_a_change_nothing_is_refused(command: Command, tmp_path: Path) -> None:
    assert command("verify", forged(tmp_path / "run", lambda *_: None)).status == 3  # one seed decides nothing


@pytest.mark.parametrize("gone", ["predictions_sha256", "config_sha256"])
def test_a_digest_must_be_there(gone: str, tmp_path: Path) -> None:
    file = forged(tmp_path / "run", lambda *_: None)
    content = json.loads(file.read_text())
    del content[gone]
    made_up.write(file.parent, content)
    with pytest.raises(UserError, match=gone):
        recompute.read_sound_record(file)


def copies(folder: Path, seeds: range, retouch: Callable[[dict[str, Any], int], None]) -> list[Path]:
    """One run under several seeds."""
    made = []
    for seed in seeds:
        file = forged(folder / str(seed), _under(seed))
        arrays = made_up.answers(1)
        retouch(arrays, seed)
        made_up.seal(file.parent, json.loads(file.read_text()), arrays)
        made.append(file)
    return made


def _under(seed: int) -> Forge:
    def forge(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
        content["seed"] = config["seed_everything"] = seed

    return forge


def not_at_all(arrays: dict[str, Any], seed: int) -> None:
    pass


def other_confidences(arrays: dict[str, Any], seed: int) -> None:
    for name in ("confidence", "best_test_confidence"):
        arrays[name] = arrays[name] * np.float32(1 - 1e-6 * seed)


def other_images(arrays: dict[str, Any], seed: int) -> None:
    """Swaps the answers to images of one class, a tenth of them: all metrics stay."""
    for label in range(10):
        mine = np.flatnonzero(arrays["label"] == label)[seed::10]
        for name in arrays.keys() - {"label"}:
            arrays[name][mine] = arrays[name][mine[::-1]]


@pytest.mark.parametrize(
    ("retouch", "how"),
    [(not_at_all, "to the last digit"), (other_confidences, "to the last digit"), (other_images, "on most images")],
)
def test_copies_under_other_seeds_are_refused(
    retouch: Callable[[dict[str, Any], int], None], how: str, command: Command, tmp_path: Path
) -> None:
    files = copies(tmp_path / "results" / "ghugre_sequential", range(1, 6), retouch)
    for seed, file in enumerate(files, 1):  # else the curve tells
        content = json.loads(file.read_text())
        for point in content["curve"]:
            point["train_loss"] *= 1 + 1e-4 * seed
        for selected in content["selection"].values():
            selected["train_loss"] = content["curve"][selected["epoch"] - 1]["train_loss"]
        made_up.write(file.parent, content)
    done = command("verify", *files, "--json", "-")
    found = json.loads(done.out)
    assert done.status == 2
    assert len(found["problems"]) == 4
    assert f"is a copy: what its network learned is {how} that of" in found["problems"][0]
    assert "under seed 1 and this one under seed 2" in found["problems"][0]
    assert found["rows"][0]["seeds"] == [1]
    done = command("verify", "--recompute", *files)
    assert done.status == 2
    assert done.err.count(f"is a copy: what its network learned is {how} that of") == 4
    done = command("rows")
    assert (done.status, done.err.count("is a copy")) == (2, 4)


def test_a_record_without_evidence_is_known_as_a_copy_by_its_curve(command: Command, tmp_path: Path) -> None:
    files = [made_up.write(tmp_path / str(seed), made_up.REAL | {"seed": seed}) for seed in (1, 2)]
    assert "is a copy: what its network learned is to the last digit that of" in command("verify", *files).sentence()


def test_a_few_other_losses_make_no_other_run(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        content = made_up.content(seed=1) | {"seed": seed}
        for point in content["curve"][:5]:
            point["train_loss"] += 1e-6 * seed
        for point in content["curve"]:
            point["train_seconds"] += seed
        made_up.settle(content)
        files.append(made_up.write(tmp_path / str(seed), content))
    assert "is a copy: what its network learned is in most epochs that of" in reader.read(files).problems[0]


def test_a_run_of_another_experiment_is_a_copy_too(tmp_path: Path) -> None:
    first = made_up.keep(tmp_path / "a", "shahrin_table2_row5", 1)
    again = made_up.keep(tmp_path / "b", "shahrin_table2_row6", 1)  # one experiment with it
    other = made_up.keep(tmp_path / "c", "aamir_table1", 1)
    found = reader.read([folder / "result.json" for folder in (first, again, other)])
    assert [record.path.parent for record in found.records] == [first, again]
    assert "which is another experiment" in found.problems[0]


def test_the_same_seed_may_be_run_again(tmp_path: Path) -> None:
    content = made_up.content()
    content["time"]["test_seconds"] = 3.0
    files = [made_up.write(tmp_path / "a", made_up.REAL), made_up.write(tmp_path / "b", content)]
    found = reader.read(files)
    assert (len(found.records), found.problems) == (2, ())


def test_networks_that_diverged_are_no_copies() -> None:
    # They say the same of every image.
    same = Answers(np.zeros(9, np.uint8), np.full(9, np.nan, np.float32), np.full(9, np.nan, np.float32))
    predictions = Predictions(np.arange(9, dtype=np.uint8), {"last": same})
    originals = Originals(chosen())
    for seed in (1, 2):
        record = made_up.record(seed=seed)
        originals.add(replace(record, learned=learned(record, predictions)))


def test_all_kept_records_are_sound(command: Command) -> None:
    done = command("verify", RESULTS)
    assert done.status in (0, 1, 3), done.err
    assert done.err == ""
    assert "cifar10_94: a recipe, of which no report prints a number" in done.out
    found = reader.read(sorted(RESULTS.rglob("result.json")))
    assert not found.problems
    assert len(found.records) == len(list(RESULTS.rglob("result.json")))
