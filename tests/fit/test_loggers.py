"""Other loggers beside TensorBoard's: an overlay for each, and none changes the experiment."""

import csv
import importlib.util
import re
from pathlib import Path

import pytest

from cifar_hpc.collection.source import read_yaml
from cifar_hpc.fit.tensorboard import event_files
from tests.conftest import ROOT, SEQUENTIAL, SMOKE, Command, Fit, Refuse, record

OVERLAYS = [file.stem for file in sorted((ROOT / "configs").glob("logger_*.yaml"))]


def needed(overlay: str) -> str:
    """The package that a file of `configs/` says is needed; empty for none."""
    found = re.search(r"`pip install (\w+)`", (ROOT / "configs" / f"{overlay}.yaml").read_text(encoding="utf-8"))
    return found[1] if found else ""


def test_there_are_overlays() -> None:
    assert {needed(overlay) for overlay in OVERLAYS} == {"", "mlflow", "wandb"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_logger_changes_nothing_and_stands_beside_tensorboard(
    overlay: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package := needed(overlay):
        pytest.importorskip(package)
    (tmp_path / "plain").mkdir()
    found = {}
    for name, flags in {"plain": [], overlay: ["-c", overlay]}.items():
        done = command("fit", *SEQUENTIAL[:2], *SMOKE, *flags, "--run_dir", name)
        assert done.status == 0, done.err
        assert event_files(tmp_path / name)
        found[name] = record(tmp_path / name)["changed_from_row"]
    assert found[overlay] == found["plain"]
    assert not [key for key in found[overlay] if "logger" in key]


def test_a_run_that_goes_on_leaves_its_earlier_csv_alone(fit_here: Fit, tmp_path: Path) -> None:
    run = [*SEQUENTIAL, "--trainer.max_epochs", "2", "-c", "logger_csv", "--run_dir", "run", "--resume"]
    fit_here(*run, "--trainer.max_steps", "16")
    fit_here(*run)
    rows = [list(csv.DictReader(file.open())) for file in sorted((tmp_path / "run" / "csv").glob("*/metrics.csv"))]
    epochs = [[row["step"] for row in each if row["train/loss"]] for each in rows]
    assert epochs == [["1"], ["2"]]
    losses = [float(row["train/loss"]) for each in rows for row in each if row["train/loss"]]
    assert losses == pytest.approx([point["train_loss"] for point in record(tmp_path / "run")["curve"]], abs=1e-6)
    settings = read_yaml(tmp_path / "run" / "csv" / "version_0" / "hparams.yaml")
    assert settings["trainer.max_epochs"] == 2


@pytest.mark.parametrize("overlay", [overlay for overlay in OVERLAYS if needed(overlay)])
def test_what_to_install_is_told(overlay: str, refuse: Refuse) -> None:
    if importlib.util.find_spec(needed(overlay)):
        pytest.skip(f"{needed(overlay)} is installed")
    told = refuse("fit", *SEQUENTIAL, "-c", overlay)
    assert told.endswith(f"needs the package {needed(overlay)}; install it with `pip install {needed(overlay)}`")
    assert f"{overlay}.yaml: trainer.logger: " in told
