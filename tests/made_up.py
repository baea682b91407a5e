"""Records made up from a real one: with other numbers, and still such as a run could leave behind."""

import copy
import hashlib
import json
import shutil
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cifar_hpc.collection.defaults import resolve
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.collection.typed import build
from cifar_hpc.records.predictions import Answers
from cifar_hpc.records.record import Record, Result, as_json
from cifar_hpc.verify.recompute import metrics
from cifar_hpc.verify.settings import learning_rates
from tests.conftest import REPRODUCTIONS, ROOT, change

KEPT = ROOT / "results" / "ghugre_sequential" / "seed1"
REAL: dict[str, Any] = json.loads((KEPT / "result.json").read_text(encoding="utf-8"))


def content(
    row: str | None = "ghugre_sequential",
    *,
    seed: int = 1,
    epochs: int | None = None,
    accuracy: float | None = None,
    last: dict[str, float] | None = None,
    seconds: float | None = None,
    real: dict[str, Any] = REAL,
    **changes: Any,
) -> dict[str, Any]:
    """The content of a result.json.

    Args:
        row: whose record it is.
        seed: of the run.
        epochs: planned and done; the curve is repeated or cut short.
        accuracy: of test and training, in every epoch.
        last: metrics of the last epoch.
        seconds: that each epoch trains, but the first, which warms up.
        real: a real record's content.
        changes: other values, by keys as `hardware__cpu`; `...` takes the key away. They may contradict each other.
    """
    made = copy.deepcopy(real) | {"row": row, "seed": seed}
    curve, selection = made["curve"], made["selection"]
    if epochs is not None:
        curve[:] = [curve[min(n, len(curve) - 1)] | {"epoch": n + 1} for n in range(epochs)]
        made["epochs"] = {"planned": epochs, "done": epochs}
        selection["last"] |= {name: curve[-1][name] for name in ("epoch", "test_accuracy", "test_loss")}
    if accuracy is not None:
        selection["last"] |= {"test_accuracy": accuracy, "train_accuracy": accuracy}
        for point in curve:
            point |= {"test_accuracy": accuracy, "train_accuracy": accuracy}
    if seconds is not None:
        for point in curve:
            point["train_seconds"] = seconds if point["epoch"] > 1 else 5 * seconds
    if last is not None:
        selection["last"] |= last
        curve[-1] |= last
    # No two seeds, and no two rows, learn the same.
    other = 0 if row in (None, real["row"]) else 50 * (zlib.crc32(str(row).encode()) % 89)
    for point in curve:
        point["train_loss"] *= 1 + 1e-4 * (other + (seed - 1 if isinstance(seed, int) else 0))
    if len(curve) != len(real["curve"]) or (accuracy, last) != (None, None):
        best = max(curve, key=lambda point: point["test_accuracy"])
        told = ("epoch", "test_accuracy", "test_loss", *(("precision", "recall", "f1") if "f1" in best else ()))
        selection["best_test"] |= {name: best[name] for name in told}
    for selected in selection.values():
        selected |= {name: curve[selected["epoch"] - 1][name] for name in ("train_loss", "train_accuracy")}
    settle(made)
    for key, value in changes.items():
        change(made, key.replace("__", "."), value)
    return made


def settle(made: dict[str, Any]) -> None:
    """Makes a record's times those of its curve."""
    images = made["dataset"]["train_images"] * made["epochs"]["done"]
    sums = {name: sum(point[name] for point in made["curve"]) for name in ("train_seconds", "eval_seconds")}
    made["time"] |= sums | {
        "fit_seconds": sum(sums.values()) + 1,
        "first_epoch_seconds": made["curve"][0]["train_seconds"] if made["curve"] else None,
        "images_per_second": images / sums["train_seconds"] if sums["train_seconds"] else None,
    }


def record(row: str | None = "ghugre_sequential", path: Path | None = None, **changes: Any) -> Record:
    """A record as the reader gives it; see `content`."""
    made = build(Result, content(row, **changes))
    return Record(**vars(made), path=path or Path(f"{row}/seed{made.seed}/result.json"))


def write(folder: Path, made: dict[str, Any] | Record) -> Path:
    """Writes a record without its evidence."""
    if isinstance(made, Record):
        made = as_json(Result(**{f.name: getattr(made, f.name) for f in fields(Result)}))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "result.json"
    file.write_text(json.dumps(made), encoding="utf-8")
    return file


def keep(folder: Path, row: str, seed: int) -> Path:
    """Makes a whole run of a row, with answers of its own, that follows from its evidence."""
    folder.mkdir(parents=True)
    file = REPRODUCTIONS / f"{row}.yaml"
    config = read_yaml(file if file.is_file() else REPRODUCTIONS / "ghugre_sequential.yaml")
    config = copy.deepcopy(config) | {"seed_everything": seed}
    config["reproduction"]["row"] = row
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    made = content(row, seed=seed, epochs=config["trainer"]["max_epochs"])
    made["model"]["class_path"] = config["model"]["class_path"]
    made["model"]["trainable_parameters"] = config["reproduction"].get("trainable_parameters", 122_570)
    for point, rate in zip(made["curve"], learning_rates(resolve(config), len(made["curve"])), strict=True):
        point["learning_rate"] = rate
    made["hardware"] |= {"threads": config["trainer"].get("threads") or made["hardware"]["threads"]}
    if made["selection"]["best_test"]["epoch"] == made["epochs"]["done"]:
        made["selection"]["best_test"]["epoch"] = 1
    arrays = answers(seed)
    for name, prefix in (("last", ""), ("best_test", "best_test_")):
        found = Answers(*(arrays[f"{prefix}{part}"] for part in ("class", "confidence", "loss")))
        made["selection"][name] |= metrics(found, arrays["label"], 10)
        epoch = made["selection"][name]["epoch"]
        made["curve"][epoch - 1] |= {k: made["selection"][name][k] for k in ("test_accuracy", "test_loss")}
    best = made["selection"]["best_test"]
    for point in made["curve"]:
        point["test_accuracy"] = min(point["test_accuracy"], best["test_accuracy"])
    for name in ("last", "best_test"):
        point = made["curve"][made["selection"][name]["epoch"] - 1]
        made["selection"][name] |= {key: point[key] for key in ("train_accuracy", "train_loss")}
    seal(folder, made, arrays)
    return folder


def answers(seed: int) -> dict[str, Any]:
    """Predictions that another seed might have given: right of as many images, but not of the same."""
    with np.load(KEPT / "predictions.npz") as kept:
        arrays = dict(kept.items())
    if seed != 1:
        order = np.argsort(arrays["label"], kind="stable")
        mixed = np.concatenate([np.random.default_rng(seed).permutation(part) for part in np.split(order, 10)])
        for name in arrays.keys() - {"label"}:  # within each class, so that all metrics stay
            arrays[name][order] = arrays[name][mixed]
    return arrays


def seal(folder: Path, made: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Writes a run's record and predictions, with the digests of the files beside it."""
    np.savez_compressed(folder / "predictions.npz", **arrays)
    for name in ("config.yaml", "predictions.npz"):
        made[f"{name.partition('.')[0]}_sha256"] = digest(folder / name)
    write(folder, made)


def digest(file: Path) -> str:
    """A file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def copy_of_kept(folder: Path) -> Path:
    """A copy of a kept run, to be damaged or forged."""
    return Path(shutil.copytree(KEPT, folder))
