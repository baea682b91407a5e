"""Contestant: a row through `fit` itself, with its callbacks, logger and data pipeline.

Started as `python -m cifar_hpc.bench.ours ARGUMENTS OF fit`; with `--input-only` behind, batches are made but
not trained on.
"""

import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from cifar_hpc.allocator import keep_memory
from cifar_hpc.bench.turns import Turns
from cifar_hpc.configuration import CIFARCLI
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.training import quieten, run_callbacks


class _TakeTurns(Callback):
    """Counts the images of each step of `fit`, and lets others have their turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the first turn."""
        self.turns.wait()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a step."""
        self.turns.count(len(batch.labels))


def main(arguments: list[str]) -> None:
    """Trains without end; the last turn ends the process."""
    turns = Turns(torch.cuda.synchronize if torch.cuda.is_available() else lambda: None)
    keep_memory()
    quieten()
    if arguments[-1] == "--input-only":
        _make_batches(CIFARCLI("fit", arguments[:-1]).datamodule, turns)
    endless = [
        "--trainer.max_epochs=1000000",
        "--trainer.limit_val_batches=0",
        "--trainer.enable_progress_bar=false",
    ]
    cli = CIFARCLI("fit", [*arguments, *endless])
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run_dir.mkdir()
        trainer = cli.make_trainer(run_dir, [*run_callbacks(cli, run_dir, ""), _TakeTurns(turns)])
        trainer.fit(cli.model, datamodule=cli.datamodule)


def _make_batches(data: CIFARDataModule, turns: Turns) -> NoReturn:
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    turns.wait()
    for epoch in count():
        loader.batch_sampler.sampler.set_epoch(epoch)
        for batch in loader:
            turns.count(len(batch.labels))
    raise AssertionError("the epochs have no end")


if __name__ == "__main__":
    main(sys.argv[1:])
