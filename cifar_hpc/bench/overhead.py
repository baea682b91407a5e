"""What `fit` costs beside a bare PyTorch loop over the same batches with the same network.

Both sides take turns in one process, because a shared machine's speed drifts; the overhead is the median of
the ratios of neighbours.
"""

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer

from cifar_hpc import reproduction
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output
from cifar_hpc.records import environment
from cifar_hpc.training import CIFARCLI, quieten, run_callbacks


class _Stopwatch(Callback):
    """Times the training part of one epoch, the callbacks of a real run included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = -time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds += time.perf_counter()


def command(row: str, steps: int, repeats: int, json_file: str | None) -> int:
    """Measures and prints the overhead.

    Args:
        row: id of a row.
        steps: training steps in each turn.
        repeats: turns of each side.
        json_file: where JSON goes; `-` for standard output.

    Raises:
        UserError: if a number is too small or the row or its dataset is missing.
    """
    if steps < 1 or repeats < 1:
        raise UserError(f"--steps and --repeats must be at least 1, not {steps} and {repeats}")
    quieten()
    found = measure(row, steps, repeats)
    if json_file is not None:
        write_json_output(found, json_file)
    if json_file != "-":
        print(
            f"{row} on {found['cpu']}, {found['threads']} threads, batches of {found['batch_size']}, "
            f"{repeats} turns of {steps} steps each"
        )
        print(f"  bare loop {found['bare_ms_per_step']:6.2f} ms a step")
        print(f"  fit       {found['fit_ms_per_step']:6.2f} ms a step")
        low, high = found["overhead_percent_quartiles"]
        print(f"  overhead  {found['overhead_percent']:6.1f} % (quartiles {low:.1f} and {high:.1f})")
    return 0


def measure(row: str, steps: int, repeats: int) -> dict[str, Any]:
    """Milliseconds a step on both sides, and the overhead in percent."""
    path = reproduction.load_row(row).path
    arguments = [
        f"--trainer.limit_train_batches={steps}",
        "--trainer.limit_val_batches=0",
        "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
    ]
    if not torch.cuda.is_available():
        arguments += ["--trainer.accelerator=cpu"]
    bare, fitted, batch_size = [], [], 0
    for turn in range(repeats + 1):
        cli = CIFARCLI("fit", ["-c", str(path), *arguments])
        batch_size = cli.datamodule.batch_size
        pair = _bare(cli, steps), _fit(cli)
        if turn:  # the first turn warms both sides up
            bare.append(1000 * pair[0] / steps)
            fitted.append(1000 * pair[1] / steps)
    ratios = [100 * (ours / theirs - 1) for ours, theirs in zip(fitted, bare, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "row": row,
        "cpu": environment.cpu_model(),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "steps": steps,
        "repeats": repeats,
        "bare_ms_per_step": statistics.median(bare),
        "fit_ms_per_step": statistics.median(fitted),
        "overhead_percent": statistics.median(ratios),
        "overhead_percent_quartiles": [quartiles[0], quartiles[2]],
    }


def _bare(cli: CIFARCLI, steps: int) -> float:
    """Seconds for the loop that anybody would write: no metrics, no callbacks, no Lightning."""
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    network = cli.model.to(memory_format=torch.channels_last)
    network.train()
    optimizer = cli.model.make_optimizer(network.parameters())
    loader = cli.datamodule.train_dataloader()
    start = time.perf_counter()
    for batch in islice(loader, steps):
        loss = F.cross_entropy(network(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def _fit(cli: CIFARCLI) -> float:
    """Seconds for the same steps through `fit`, with everything a run has switched on."""
    stopwatch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        trainer = cli.make_trainer(run_dir, [stopwatch, *run_callbacks(cli, run_dir, "")])
        trainer.fit(cli.model, datamodule=cli.datamodule)
    return stopwatch.seconds
