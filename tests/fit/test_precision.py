"""`precision: auto` and the overlay that asks for it: decided by what the machine computes, said, and recorded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cifar_hpc import machine
from cifar_hpc.fit.trainer import Trainer
from tests.conftest import ROOT, SEQUENTIAL, SMOKE, Fit, Refuse, record

FAST = ["-c", str(ROOT / "configs" / "fast.yaml")]
CPU = "--trainer.accelerator=cpu"


def processor(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Lets this process take its processor for one with these instructions."""
    monkeypatch.setattr(machine, "usable_instructions", lambda: names)


@pytest.mark.parametrize(
    ("names", "precision", "why"),
    [
        ((), "32-true", "this processor does not compute bfloat16"),
        (("avx2",), "32-true", "this processor does not compute bfloat16"),
        (("avx2", "avx512"), "32-true", "this processor does not compute bfloat16"),
        (("avx2", "avx512", "avx512_bf16"), "bf16-mixed", "avx512_bf16 computes bfloat16"),
        (("avx2", "avx512", "avx512_bf16", "amx_bf16"), "bf16-mixed", "amx_bf16 computes bfloat16"),
    ],
)
def test_the_fast_overlay_asks_the_processor(
    names: tuple[str, ...],
    precision: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    fit_here: Fit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    processor(monkeypatch, *names)
    fit_here(*SEQUENTIAL, *SMOKE, *FAST, CPU, "--trainer.limit_train_batches=2", "--run_dir", "run")
    found = record(Path("run"))
    assert found["hardware"]["precision"] == precision
    assert found["hardware"]["instructions"] == list(names)
    assert f"precision {precision} ({why})" in capsys.readouterr().err
    # A run's own file means the same on another machine.
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["precision"] == precision


def test_bf16_by_name_is_obeyed_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, fit_here: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    processor(monkeypatch, "avx2")
    settings = ["--trainer.precision=bf16-mixed", "--trainer.limit_train_batches=2", "--run_dir", "run"]
    fit_here(*SEQUENTIAL, *SMOKE, *settings)
    assert record(Path("run"))["hardware"]["precision"] == "bf16-mixed"
    told = capsys.readouterr().err
    assert told.count("warning: bfloat16 is slow here; --trainer.precision auto would take 32-true") == 1


def test_other_precisions_are_taken_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, "avx2")
    for asked in ("32-true", "64-true", "16-mixed"):
        assert machine.choose_precision(asked, on_cpu=True) == machine.Precision(asked)


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 0), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")]
)
def test_gpus_since_ampere_compute_it(
    capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No GPU is needed to decide by what one says of itself.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    assert machine.choose_precision("auto", on_cpu=False).name == precision


def test_the_trainer_takes_auto_without_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, "avx2")
    trainer = Trainer(precision="auto", accelerator="cpu", logger=False, enable_checkpointing=False)
    assert trainer.precision == "32-true"


def test_a_wrong_precision_is_told_with_auto_among_the_right_ones(refuse: Refuse) -> None:
    told = refuse("fit", *SEQUENTIAL, "--trainer.precision=bf17")
    assert "trainer.precision is bf17" in told
    assert "one of auto, 32-true" in told


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("fused", [True, False])
def test_gradients_of_fused_optimisers_are_clipped_in_their_own_scale(
    precision: str, fused: bool, monkeypatch: pytest.MonkeyPatch, fit_here: Fit
) -> None:
    norms: list[float] = []
    step = torch.optim.Adam.step

    def measured(optimizer: torch.optim.Adam, *arguments: Any, **settings: Any) -> Any:
        found = step(optimizer, *arguments, **settings)
        gradients = [w.grad for group in optimizer.param_groups for w in group["params"] if w.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
        return found

    monkeypatch.setattr(torch.optim.Adam, "step", measured)
    adam = [
        "--model.init_args.optimizer.class_path=torch.optim.Adam",
        f"--model.init_args.optimizer.init_args.fused={str(fused).lower()}",
    ]
    limits = ["--trainer.limit_train_batches=4", f"--trainer.precision={precision}", "--run_dir", "run"]
    fit_here(*SEQUENTIAL, *SMOKE, *adam, *limits, "--trainer.gradient_clip_val=0.01")
    assert len(norms) == 4
    assert all(norm <= 0.0101 for norm in norms)


def test_the_fast_overlay_clips(fit_here: Fit) -> None:
    fit_here(*SEQUENTIAL, *SMOKE, *FAST, CPU, "--trainer.gradient_clip_val=1.0", "--run_dir", "run")
    assert record(Path("run"))["changed_from_row"]["trainer.gradient_clip_val"] == [None, 1.0]
