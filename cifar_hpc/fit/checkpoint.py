"""How a run's checkpoints are written: one at the end of each whole epoch, and no half of one under its name."""

import io
import re
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cifar_hpc.output import write_file
from cifar_hpc.speed.epoch_callback import EpochCallback

_KEPT = 2
"""Checkpoints that are kept, so that one damaged in writing costs an epoch and not the run."""


class EpochCheckpoint(EpochCallback, Checkpoint):
    """Writes a checkpoint after each whole epoch and removes older ones, whichever process wrote them.

    Lightning's ModelCheckpoint knows only those that its own process wrote: a kill in between leaves one for good.

    Args:
        folder: the run's `checkpoints/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the epoch's checkpoint; what is under its name, damaged, is replaced."""
        if not is_whole_epoch(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        epoch = trainer.current_epoch + 1
        path = self.folder / f"epoch{epoch:04d}.ckpt"
        if trainer.is_global_zero and path.is_dir():  # DeepSpeed's processes write into it file by file
            trainer.strategy.remove_checkpoint(path)
        trainer.strategy.barrier()
        trainer.save_checkpoint(path)
        for old in self.folder.glob("epoch*.ckpt") if trainer.is_global_zero else ():
            number = re.fullmatch(r"epoch(\d+)\.ckpt", old.name)
            if number and int(number[1]) <= epoch - _KEPT:
                trainer.strategy.remove_checkpoint(old)


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there in one step.

    Lightning's own writes it to the folder of temporary files, where a kill leaves it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint; where that fails, nothing stays of it, and what was under its name is as it was."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_file(Path(path), content.getbuffer())


def is_whole_epoch(trainer: Trainer) -> bool:
    """Checks whether the epoch that ends has seen all its batches: a limit of steps or time can cut one short."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
