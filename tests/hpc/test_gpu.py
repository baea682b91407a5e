"""shahrin's pair on a GPU under every GPU overlay, with cuDNN's autotuner on and off; what is skipped is named."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

from cifar_hpc.collection.source import read_yaml
from tests.conftest import REPRODUCTIONS, ROOT, record
from tests.hpc.conftest import Launch, losses

OVERLAYS = {
    **dict.fromkeys(["gpu", "gpu_bf16", "gpu_fp16", "gpus_ddp"]),
    **dict.fromkeys([f"deepspeed_stage_{stage}" for stage in (1, 2, 3)], "deepspeed_stage_2"),
}
"""Overlays and strategies, with the overlay that a strategy is a flag on."""
PAIR = {"shahrin_table2_row1": False, "shahrin_table2_row3": True}
"""Its rows without and with HPC tools, of which one is `benchmark`."""


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("row", PAIR)
def test_a_gpu_trains(row: str, overlay: str, launch: Launch, tmp_path: Path) -> None:
    benchmark = PAIR[row]
    case = f"{row} with {overlay} and benchmark {'on' if benchmark else 'off'}"
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU, so not run: {case}")
    if overlay.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        pytest.skip(f"DeepSpeed is not installed, so not run: {case}")
    file = ROOT / "configs" / f"{OVERLAYS[overlay] or overlay}.yaml"
    strategy = [f"--trainer.strategy={overlay}"] if OVERLAYS[overlay] else []
    done = launch(sys.executable, "-m", "cifar_hpc", "fit", "-c", REPRODUCTIONS / f"{row}.yaml", "-c", file,
        *strategy, "--data.sample=true", "--trainer.max_epochs=2", f"--trainer.benchmark={str(benchmark).lower()}",
        "--run_dir", "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    asked, found = read_yaml(file)["trainer"], record(tmp_path / "run")
    assert found["hardware"]["accelerator"] == "cuda"
    assert found["hardware"]["precision"] == asked["precision"]
    assert (overlay if strategy else asked["strategy"]) in ("auto", found["hardware"]["strategy"])
    assert found["hardware"]["tf32"] is (torch.cuda.get_device_capability() >= (8, 0))
    assert found["dataset"]["test_images"] == 200
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "run"))
