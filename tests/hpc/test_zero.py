"""DeepSpeed's ZeRO on two CPU processes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, record
from tests.hpc.conftest import CLUSTER, TORCHRUN, Launch, losses

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_trains_saves_resumes_and_ends_as_ddp(
    stage: int, plain_sgd: list[str], launch: Launch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed: `make test-cluster` installs it")
    overlay = [
        "-c",
        str(ROOT / "configs" / "deepspeed_stage_2_cpu.yaml"),
        f"--trainer.strategy=deepspeed_stage_{stage}",
    ]
    fit = [*TORCHRUN, "fit", *plain_sgd, *CLUSTER]
    done = launch(*fit, "--run_dir", "ddp")
    assert done.status == 0, done.err
    done = launch(*fit, *overlay, "--trainer.max_epochs=2", "--run_dir", "zero")
    assert done.status == 0, done.err
    # As if it had been stopped after two of three epochs.
    for file, key in (("config.yaml", "max_epochs: 2"), ("result.json", '"status": "complete"')):
        text = (tmp_path / "zero" / file).read_text()
        assert key in text
        (tmp_path / "zero" / file).write_text(text.replace(key, key.replace("2", "3").replace("complete", "partial")))
    done = launch(*fit, *overlay, "--resume", "--run_dir", "zero")
    assert done.status == 0, done.err
    assert "resuming from epoch0002.ckpt" in done.err
    assert losses(tmp_path / "zero") == pytest.approx(losses(tmp_path / "ddp"), rel=1e-4)
    found = record(tmp_path / "zero")
    assert json.dumps(found["hardware"]["strategy"]) == f'"deepspeed_stage_{stage}"'
    assert found["model"]["trainable_parameters"] == 122_570
    # Its checkpoint is tested by one process without DeepSpeed as well as by two with it.
    for line in ([sys.executable, "-m", "cifar_hpc", "test", *plain_sgd], [*TORCHRUN, "test", *plain_sgd, *overlay]):
        done = launch(*line, "--run_dir", "zero")
        assert done.status == 0, done.err
        assert f"accuracy {found['selection']['last']['test_accuracy']:.6f}" in done.out
