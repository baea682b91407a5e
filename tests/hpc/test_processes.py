"""Two processes see what one sees: same batches, same gradients, every test image once."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPRODUCTIONS, ROOT, SEQUENTIAL, Command, Fit, record, same, two_cores, weights
from tests.hpc.conftest import CLUSTER, MPIRUN, TORCHRUN, Launch, losses, needs


@two_cores
def test_ddp_gives_the_same_losses(plain_sgd: list[str], fit_here: Fit, launch: Launch, tmp_path: Path) -> None:
    fit_here(*plain_sgd, "--run_dir", tmp_path / "one")
    done = launch(sys.executable, "-m", "cifar_hpc", "fit", *plain_sgd, "-c", ROOT / "configs" / "cpu_ddp2.yaml",
        "--trainer.threads=1", "--run_dir", "two",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    found = record(tmp_path / "two")
    assert found["dataset"]["test_images"] == 200
    assert len(np.load(tmp_path / "two" / "predictions.npz")["class"]) == 200
    assert found["hardware"]["world_size"] == 2
    placed = found["hardware"]["processes"]
    assert [process["threads"] for process in placed] == [1, 1]
    if found["hardware"]["cores"] > 1:
        assert not set(placed[0]["cores"]) & set(placed[1]["cores"])


def test_torchrun_gives_the_same_in_double_precision(fit_here: Fit, launch: Launch, tmp_path: Path) -> None:
    # The row as it is, with Adam: what is left of 1e-5 in fp32 is rounding and nothing else.
    row = [*SEQUENTIAL, "--trainer.max_epochs=3", "--trainer.deterministic=true", "--trainer.precision=64-true"]
    fit_here(*row, "--run_dir", tmp_path / "one")
    done = launch(*TORCHRUN, "fit", *row, *CLUSTER, "--trainer.precision=64-true", "--run_dir", "two")
    assert done.status == 0, done.err
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-12)
    assert record(tmp_path / "two")["changed_from_row"] == record(tmp_path / "one")["changed_from_row"]


def launchers(command: str, flags: list[str]) -> dict[str, list[str]]:
    """Command lines that start two processes."""
    return {
        "ddp": [sys.executable, "-m", "cifar_hpc", command, *flags, "-c", str(ROOT / "configs" / "cpu_ddp2.yaml")],
        "torchrun": [*TORCHRUN, command, *flags, *CLUSTER],
        "mpirun": [*MPIRUN, command, *flags, *CLUSTER],
    }


@pytest.mark.cluster
@pytest.mark.parametrize("network", ["SmallCNN", "ResNet18"])
def test_launchers_end_in_the_same_bits(
    network: str, plain_sgd: list[str], resnet18: list[str], launch: Launch, tmp_path: Path
) -> None:
    needs("mpirun")
    for name, line in launchers("fit", plain_sgd if network == "SmallCNN" else resnet18).items():
        done = launch(*line, "--run_dir", name)
        assert done.status == 0, done.err
        assert record(tmp_path / name)["model"]["class_path"].endswith(f".{network}")
        assert same(weights(tmp_path / "ddp", 3), weights(tmp_path / name, 3)), name
        assert losses(tmp_path / name) == losses(tmp_path / "ddp")
        assert record(tmp_path / name)["selection"] == record(tmp_path / "ddp")["selection"]


@pytest.mark.cluster
@pytest.mark.data
@pytest.mark.usefixtures("cifar10")
def test_launchers_test_all_10000_images_once(finished_run: Path, command: Command, launch: Launch) -> None:
    needs("mpirun")
    row = ["-c", str(REPRODUCTIONS / "ghugre_sequential.yaml"), "--run_dir", str(finished_run)]
    one = command("test", *row)
    assert one.status == 0, one.err
    assert "test (10000 images" in one.out
    for name, line in launchers("test", row).items():
        done = launch(*line)
        assert done.status == 0, done.err
        assert done.out == one.out, name


@pytest.mark.cluster
def test_three_processes_count_every_test_image_once(finished_run: Path, launch: Launch, tmp_path: Path) -> None:
    # 200 images over three processes are 67, 67 and 66; batches of 70 end with one of 60.
    three = [part.replace("=2", "=3") if "nproc" in part else part for part in TORCHRUN]
    evaluate = [*SEQUENTIAL, *CLUSTER, "--data.eval_batch_size=70", "--run_dir", finished_run]
    done = launch(*three, "test", *evaluate)
    assert done.status == 0, done.err
    last = record(finished_run)["selection"]["last"]
    assert "test (200 images" in done.out
    for metric, key in (("accuracy", "test_accuracy"), ("precision", "precision"), ("f1", "f1")):
        assert f"{metric} {last[key]:.6f}" in done.out
    done = launch(*three, "predict", *evaluate, "--output", "three.npz")
    assert done.status == 0, done.err
    ours, kept = np.load(tmp_path / "three.npz"), np.load(finished_run / "predictions.npz")
    assert np.array_equal(ours["class"], kept["class"])


@pytest.mark.cluster
@pytest.mark.parametrize("by", [TORCHRUN, MPIRUN], ids=["torchrun", "mpirun"])
def test_one_process_speaks_for_all(by: list[str], launch: Launch, tmp_path: Path) -> None:
    if by is MPIRUN:
        needs("mpirun")
    done = launch(*by, "fit", *SEQUENTIAL)
    assert done.status != 0
    told = [line for line in done.err.splitlines() if line.startswith("cifar_hpc: ")]
    assert len(told) == 1, done.err
    assert "started 2 processes, but trainer.devices 1" in told[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.cluster
def test_launches_get_directories_of_their_own(plain_sgd: list[str], launch: Launch, tmp_path: Path) -> None:
    for _ in range(2):
        done = launch(*TORCHRUN, "fit", *plain_sgd, *CLUSTER, "--trainer.max_epochs=1")
        assert done.status == 0, done.err
    assert sorted(f.name for f in (tmp_path / "runs/ghugre_sequential/smoke").iterdir()) == ["seed1", "seed1-2"]


@pytest.mark.cluster
def test_an_unreachable_master_is_told_before_torch_would(launch: Launch) -> None:
    env = {
        "TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "29500",
    }  # fmt: skip
    # After 25 s and the imports; torch itself waits for 300 s.
    done = launch(sys.executable, "-m", "cifar_hpc", "fit", *SEQUENTIAL, *CLUSTER, env=env, timeout=240)
    assert "192.0.2.1" in done.sentence()
