"""What `fit` costs beside a bare PyTorch loop over the same batches with the same network.

Both sides take turns of a few steps within one run, because a shared machine's speed drifts from second to
second; the overhead is the median of the ratios of neighbouring turns.
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

from cifar_hpc import machine
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten, run_callbacks
from cifar_hpc.output import write_json_output
from cifar_hpc.speed.allocator import keep_memory
from cifar_hpc.speed.fused import prefer_fused


class _TakeTurns(Callback):
    """Lets the bare loop have a turn after every turn of `fit`, and times both.

    Args:
        bare: the bare loop.
        steps: number of steps in a turn.
    """

    def __init__(self, bare: "_BareLoop", steps: int) -> None:
        self.bare = bare
        self.steps = steps
        self.pairs: list[tuple[float, float]] = []
        self._start: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends a turn of `fit`; the next begins when the bare loop has had its own."""
        if (batch_idx + 1) % self.steps:
            return
        now = time.perf_counter()
        turn = self.bare.take_turn(self.steps)
        if self._start is not None:  # the first turn warms both sides up
            self.pairs.append((now - self._start, turn))
        self._start = time.perf_counter()


class _BareLoop:
    """The loop that anybody would write: no metrics, no callbacks, no Lightning.

    Args:
        cli: a parsed `fit` of the row.
    """

    def __init__(self, cli: CIFARCLI) -> None:
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")
        self.network = cli.model.to(memory_format=torch.channels_last)
        self.network.train()
        self.optimizer = cli.model.make_optimizer(self.network.parameters())
        prefer_fused(self.optimizer)
        self.batches = iter(cli.datamodule.train_dataloader())

    def take_turn(self, steps: int) -> float:
        """Trains for some steps, and returns the seconds that they took."""
        start = time.perf_counter()
        for batch in islice(self.batches, steps):
            loss = F.cross_entropy(self.network(batch.images), batch.labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start


def command(row: str | None, steps: int, repeats: int, json_file: str | None) -> int:
    """Measures and prints the overhead.

    Args:
        row: id of a row; null for the smallest network.
        steps: training steps in each turn.
        repeats: turns of each side.
        json_file: where JSON goes; `-` for standard output.

    Raises:
        UserError: if a number is too small or the row or its dataset is missing.
    """
    if steps < 1 or repeats < 1:
        raise UserError(f"--steps and --repeats must be at least 1, not {steps} and {repeats}")
    quieten()
    keep_memory()
    row = row or chosen().smallest()
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
    """Measures the milliseconds that a step takes on both sides, and the overhead in percent."""
    path = chosen().row(row).path
    arguments = [
        "-c",
        str(path),
        f"--trainer.limit_train_batches={steps * (repeats + 1)}",
        "--trainer.limit_val_batches=0",
        "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
    ]
    if not torch.cuda.is_available():
        arguments += ["--trainer.accelerator=cpu"]
    cli = CIFARCLI("fit", arguments)
    turns = _TakeTurns(_BareLoop(CIFARCLI("fit", arguments)), steps)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        trainer = cli.make_trainer(run_dir, [*run_callbacks(cli, run_dir, ""), turns])
        trainer.fit(cli.model, datamodule=cli.datamodule)
    if len(turns.pairs) < repeats:
        raise UserError(f"An epoch of {row} has too few steps for {repeats + 1} turns of {steps}")
    ratios = [100 * (ours / theirs - 1) for ours, theirs in turns.pairs]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "row": row,
        "cpu": machine.cpu_model(),
        "threads": torch.get_num_threads(),
        "batch_size": cli.datamodule.batch_size,
        "steps": steps,
        "repeats": repeats,
        "bare_ms_per_step": 1000 * statistics.median(theirs for _, theirs in turns.pairs) / steps,
        "fit_ms_per_step": 1000 * statistics.median(ours for ours, _ in turns.pairs) / steps,
        "overhead_percent": statistics.median(ratios),
        "overhead_percent_quartiles": [quartiles[0], quartiles[2]],
    }
