"""How far a run is: a bar on a terminal, lines in a log, with the same facts."""

import sys
import time
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from cifar_hpc.fit.checkpoint import is_whole_epoch
from cifar_hpc.output import terminal_width
from cifar_hpc.speed.epoch_callback import EpochCallback


class Pace:
    """The pace of this process since it began to train.

    Args:
        trainer: the Trainer, which begins now.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._first, self._start = trainer, trainer.current_epoch, time.perf_counter()

    def left(self, done: float) -> str:
        """Estimates the minutes and seconds to the end of training, after so many epochs; empty where no end is set."""
        last = self._trainer.max_epochs
        if not last or last <= done or done <= self._first:
            return ""
        each = (time.perf_counter() - self._start) / (done - self._first)
        return f"{tqdm.format_interval(each * (last - done))} left"


def of_epochs(trainer: Trainer) -> str:
    """Says which epoch it is, from 1, of how many."""
    last = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{last}"


class EpochBar(ProgressBar):
    """One bar, for the epoch that is running, with the time left for the whole run and two metrics."""

    _FORMAT = "{desc} {bar} {percentage:3.0f} %{postfix}"
    _STEPS = 20
    """Steps between two looks at the loss, for which a GPU has to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._enabled, self._test = True, ""

    def disable(self) -> None:
        """Shows nothing from now on."""
        self._enabled = False

    def enable(self) -> None:
        """Shows the bar again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the run."""
        self._pace = Pace(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the epoch's bar."""
        self._open(of_epochs(trainer), trainer.num_training_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves on, every few steps."""
        if self._bar is None or ((batch_idx + 1) % self._STEPS and batch_idx + 1 != self._bar.total):
            return
        left = self._pace.left(trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches)
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        facts = (left, f"loss {float(loss):.3f}" if loss is not None else "", self._test)
        self._bar.set_postfix_str(", ".join(filter(None, facts)), refresh=False)
        self._bar.update(batch_idx + 1 - self._bar.n)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that the test set is being looked at."""
        if self._bar is not None:
            self._bar.set_description_str(f"{of_epochs(trainer)}, test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes what came out."""
        if (accuracy := trainer.callback_metrics.get("test/accuracy")) is not None:
            self._test = f"test {100 * float(accuracy):.2f} %"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clears the epoch's bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the terminal to what is said next."""
        self._close()

    def _open(self, description: str, total: float) -> None:
        self._close()
        if self._enabled and self.trainer.is_global_zero:
            steps = int(total) if total != float("inf") else None
            self._bar = tqdm(
                desc=description, total=steps, bar_format=self._FORMAT, dynamic_ncols=True, leave=False, file=sys.stderr
            )
            # tqdm shows nothing on a terminal that does not know how high it is, as some of containers do not.
            self._bar.nrows = None
            self._bar.dynamic_ncols = self._size  # type: ignore[assignment]  # tqdm asks it before each look

    @staticmethod
    def _size(file: TextIO) -> tuple[int, None]:
        return (terminal_width(file) or 80) - 1, None

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class EpochLines(EpochCallback):
    """One line an epoch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the run."""
        self._pace = Pace(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's clock."""
        self._epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints a whole epoch."""
        if not is_whole_epoch(trainer):
            return
        seconds, left = time.perf_counter() - self._epoch_start, self._pace.left(trainer.current_epoch + 1)
        train = pl_module.train_metrics()  # type: ignore[operator]  # sums over all processes: all must ask
        if not trainer.is_global_zero:
            return
        # Of an evaluation after this epoch; Lightning's own metrics keep older ones.
        test = pl_module.evaluations.get("test")  # type: ignore[operator, union-attr]
        print(
            f"{of_epochs(trainer)}: train loss {train['loss']:.4f}, train accuracy {100 * train['accuracy']:.2f} %, "
            + (f"test accuracy {100 * test.metrics['accuracy']:.2f} %, " if test is not None else "")
            + f"{seconds:.1f} s"
            + (f", {left}" if left else ""),
            file=sys.stderr,
            flush=True,
        )
