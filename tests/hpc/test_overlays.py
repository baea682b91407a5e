"""Overlays and precisions say how fast a run happens, and the record says what was really used."""

from pathlib import Path

import pytest

from cifar_hpc.collection.experiment import experiment
from cifar_hpc.collection.source import read_yaml
from tests.conftest import ROOT, SEQUENTIAL, Fit, record

OVERLAYS = sorted(file for file in (ROOT / "configs").glob("*.yaml") if file.stem != "smoke")


def test_there_are_overlays() -> None:
    assert {"cpu", "cpu_cluster", "cpu_ddp2", "deepspeed_stage_2_cpu", "gpu_fp16"} <= {file.stem for file in OVERLAYS}


@pytest.mark.parametrize("file", OVERLAYS, ids=lambda file: file.stem)
def test_an_overlay_changes_no_experiment(file: Path) -> None:
    assert not experiment(read_yaml(file))


@pytest.mark.parametrize(
    ("asked", "used"),
    [*((p, p) for p in ("64-true", "bf16-mixed", "bf16-true", "16-true")), ("16-mixed", "bf16-mixed")],
)
@pytest.mark.filterwarnings("ignore:.*fp16 is not supported on CPU.*")
def test_precisions_train_on_a_cpu(asked: str, used: str, fit_here: Fit, tmp_path: Path) -> None:
    # fp16 is emulated on most processors: half a minute for the sample.
    few = [
        "--data.batch_size=2",
        "--data.eval_batch_size=2",
        *(f"--trainer.limit_{part}_batches=2" for part in ("train", "val", "test")),
    ]
    fit_here(*SEQUENTIAL, "--trainer.max_epochs=1", *few, f"--trainer.precision={asked}", "--run_dir", tmp_path / "run")
    assert record(tmp_path / "run")["hardware"]["precision"] == used
