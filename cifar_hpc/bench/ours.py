"""Contestant: a row through `fit` itself, with its callbacks, logger and data pipeline.

Started as `python -m cifar_hpc.bench.ours ARGUMENTS OF fit`; with `--input-only` behind, batches are made but
not trained on. When the arguments ask for several processes, Lightning starts this module once more for each. They
stay in the contestant's process group and are stopped with it; the first alone takes turns, and the others follow,
because every step waits for the gradients of all.
"""

import os
import sys
import tempfile
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy

from cifar_hpc.bench.turns import Turns
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.training import quieten, run_callbacks
from cifar_hpc.speed.allocator import keep_memory

_FOR_LONG = timedelta(days=1)
"""How long processes wait for each other: the clock of their waiting goes on while they are stopped."""


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
        """Counts a step: what all processes, which share the batch evenly, have done of it."""
        self.turns.count(len(batch.labels) * trainer.world_size)


def main(arguments: list[str]) -> None:
    """Trains without end; the last turn ends the process."""
    turns = None
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        turns = Turns(torch.cuda.synchronize if torch.cuda.is_available() else lambda: None)
    quieten()
    if turns is not None and arguments[-1] == "--input-only":
        _make_batches(CIFARCLI("fit", arguments[:-1]).datamodule, turns)
    endless = [
        "--trainer.max_epochs=1000000",
        "--trainer.limit_val_batches=0",
        "--trainer.enable_progress_bar=false",
    ]
    cli = CIFARCLI("fit", [*arguments, *endless])
    if cli.plain_config["trainer"]["kernels"] == "ours":
        keep_memory()
    run_dir = Path(tempfile.gettempdir()) / "run"  # the contestant's own folder, and the same for all its processes
    run_dir.mkdir(exist_ok=True)
    trainer = cli.make_trainer(
        run_dir, [*run_callbacks(cli, run_dir, ""), *([] if turns is None else [_TakeTurns(turns)])]
    )
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._timeout = _FOR_LONG
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
