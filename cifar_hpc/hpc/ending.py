"""How a run ends that a signal or the loss of another process stops: with a sentence, and fit to be resumed.

Clusters send SIGTERM or SIGUSR1 before they take a machine away. Nothing is saved on the signal itself. Every
epoch leaves a checkpoint, and an epoch's images follow from seed and epoch alone: going on from the newest one ends
in the weights of an undisturbed run, at the price of at most one epoch. A checkpoint from the middle of an epoch
could not promise that.
"""

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lightning.pytorch import LightningModule, Trainer

from cifar_hpc.errors import EndedEarly, UserError, machine_refuses
from cifar_hpc.speed.epoch_callback import EpochCallback

STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(BaseException):
    """A signal asked this process to end. Like KeyboardInterrupt, no `except Exception` takes it.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


class Asked(EpochCallback):
    """Asks again, at the next epoch, for an end that was asked for where Python ignores exceptions: in a finaliser."""

    def __init__(self) -> None:
        self.to_end: BaseException | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises what the signal raised in vain."""
        if self.to_end is not None:
            raise self.to_end


@contextmanager
def stop_on_signals(asked: Asked) -> Iterator[None]:
    """Turns the first SIGTERM or SIGUSR1 into `Stopped`, and Ctrl-C into KeyboardInterrupt, noting both.

    Later ones of the former do not disturb the ending. Once all is done, SIGUSR1 is ignored for good: a cluster's
    warning that comes while Python shuts down must not make a failure of a complete run.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        asked.to_end = Stopped(number)
        raise asked.to_end

    def interrupt(number: int, frame: FrameType | None) -> None:
        asked.to_end = KeyboardInterrupt()
        raise asked.to_end

    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield
        return
    before = {number: signal.signal(number, stop) for number in STOPPING}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # shells let background jobs ignore Ctrl-C
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
        before[signal.SIGUSR1] = signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def resumable(trainer: Trainer, run_dir: Path) -> Iterator[None]:
    """Ends training with one sentence where a signal, a lost process or a full disk stops it.

    Raises:
        EndedEarly: on process 0 after a signal, and on every process that lost another one or cannot write.
        KeyboardInterrupt: on process 0 after Ctrl-C, with a sentence as of EndedEarly.
        SystemExit: on the other processes after a signal or Ctrl-C, with the same status and without a word.
    """
    asked = Asked()
    trainer.callbacks.append(asked)  # type: ignore[attr-defined]
    try:
        with stop_on_signals(asked):
            yield
    except (SystemExit, KeyboardInterrupt) as interrupted:  # the former is what Lightning makes of Ctrl-C
        if not trainer.is_global_zero:
            raise SystemExit(128 + signal.SIGINT) from interrupted
        raise KeyboardInterrupt(f"interrupted {how_to_go_on(trainer, run_dir)}") from interrupted
    except Stopped as stopped:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGTERM)  # its processes may have got no signal
        status = 128 + stopped.signal
        if not trainer.is_global_zero:
            raise SystemExit(status) from stopped
        again = requeue_job() if stopped.signal == signal.SIGUSR1 else ""
        raise EndedEarly(f"stopped by {stopped.signal.name} {how_to_go_on(trainer, run_dir, again)}", status) from None
    except (OSError, UserError) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if isinstance(refused, FileNotFoundError) and not run_dir.is_dir():
            raise EndedEarly(
                f"{run_dir} was moved or removed while its run was at work; where it is now, --run_dir with --resume "
                "goes on with it",
                2,
            ) from error
        named = isinstance(error, OSError) and error.filename is not None  # a file, whatever is wrong with it
        if not isinstance(refused, OSError) or not (machine_refuses(refused) or named):
            raise
        told = str(error) if isinstance(error, UserError) else f"{error.filename or run_dir}: {error.strerror}"
        raise EndedEarly(f"{told}; the run ends {how_to_go_on(trainer, run_dir)}", 2) from error
    except RuntimeError as error:  # gloo and NCCL have no kind of their own
        if trainer.world_size == 1 or not re.search(_LOST, str(error)):
            raise
        raise EndedEarly(
            f"process {trainer.global_rank} on {socket.gethostname()} lost contact with another one "
            f"({' '.join(str(error).split())[:200]}) {how_to_go_on(trainer, run_dir)}",
            1,
        ) from error


_LOST = "gloo|NCCL|onnection|imed out|Broken pipe|recv|TCPStore"
"""What torch's messages on a lost process contain."""


def how_to_go_on(trainer: Trainer, run_dir: Path, again: str = "", done: int | None = None, more: str = "") -> str:
    """Says how far a run came and how it is resumed, as half a sentence.

    Args:
        trainer: the run's.
        run_dir: the run's directory.
        again: who starts it again; empty where the user must.
        done: whole epochs; null for those that Lightning counts.
        more: what the same command needs besides.
    """
    done = trainer.fit_loop.epoch_progress.current.completed if done is None else done
    by_hand = f"the same command with `--run_dir {run_dir} --resume`{more} goes on from there"
    return f"after {done} of {trainer.max_epochs} epochs; {again or by_hand}"


def requeue_job() -> str:
    """Asks Slurm to run this job again, when there is a job.

    Returns:
        What came of it, as half a sentence; empty outside Slurm.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return ""
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        return f"Slurm was asked to run job {job} again and refused ({' '.join(told.split())})"
    return f"Slurm runs job {job} again"
