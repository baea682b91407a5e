"""A signal that comes while Python ignores exceptions ends the run all the same."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.hpc.ending import resumable
from cifar_hpc.models import SmallCNN
from tests.hpc.conftest import bare_trainer


class SignalInAFinaliser(Callback):
    """Sends Ctrl-C to this very process while an object is being finalised, as a closed file or socket may be."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        class Finalised:
            def __del__(self) -> None:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):  # the handler runs between two of these
                    pass

        Finalised()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_in_a_finaliser_is_not_lost(tmp_path: Path) -> None:
    trainer = bare_trainer(tmp_path, [SignalInAFinaliser()], max_epochs=5, limit_train_batches=1, limit_val_batches=0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest runs in the background
    try:
        with pytest.raises(KeyboardInterrupt), resumable(trainer, tmp_path):
            trainer.fit(SmallCNN(), datamodule=CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.current_epoch == 1


def test_a_warning_after_the_end_is_ignored(tmp_path: Path) -> None:
    trainer = bare_trainer(tmp_path, [], max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with resumable(trainer, tmp_path):
            trainer.fit(SmallCNN(), datamodule=CIFARDataModule("cifar10", batch_size=32, sample=True, seed=1))
        os.kill(os.getpid(), signal.SIGUSR1)  # by default it would end this process
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert trainer.current_epoch == 1
