"""The commands `fit`, `validate`, `test` and `predict`, over a run's directory."""

import hashlib
import io
import logging
import os
import re
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from cifar_hpc.collection.experiment import flat
from cifar_hpc.errors import EndedEarly, UserError, machine_refuses, one_line
from cifar_hpc.fit.beginning import place_of_run
from cifar_hpc.fit.callbacks import Announcement, CurvePoints, EpochSeed
from cifar_hpc.fit.checkpoint import EpochCheckpoint, is_whole_epoch
from cifar_hpc.fit.configuration import CIFARCLI, count_processes
from cifar_hpc.fit.recorder import Recorder, RunFacts
from cifar_hpc.fit.refusals import what_refuses
from cifar_hpc.fit.tensorboard import TensorBoardExtras, event_files, tensorboard_logger
from cifar_hpc.hpc.ending import how_to_go_on, resumable
from cifar_hpc.hpc.launch import find_launch
from cifar_hpc.hpc.siblings import Siblings
from cifar_hpc.output import tell, write_file
from cifar_hpc.records import checkpoints, run_directory
from cifar_hpc.speed.allocator import keep_memory


def run(command: str, arguments: list[str]) -> int:
    """Carries out one of the four commands; the exit status is 0 when it returns."""
    if not os.environ.get("CIFAR_HPC_DEBUG"):
        quieten()
    checkpoints.load_data_alone()
    siblings = Siblings(find_launch())
    with siblings.together("request"):
        cli = CIFARCLI(command, arguments, siblings.launch)
        if cli.plain_config["trainer"]["kernels"] == "ours":
            keep_memory()
        cli.datamodule.prepare_data()
        if command == "fit" and (processes := count_processes(cli)) > 1:
            cli.datamodule.setup("fit")
            cli.datamodule.check_processes(processes)
    if command != "fit":
        return evaluate(cli, command, siblings)
    with place_of_run(cli, siblings) as (run_dir, checkpoint):
        return train(cli, siblings, run_dir, checkpoint)


def train(cli: CIFARCLI, siblings: Siblings, run_dir: Path, checkpoint: Path | None) -> int:
    """Trains, then tests the last whole epoch's network on the full test set, and keeps the record.

    Args:
        cli: the parsed command.
        siblings: the processes that a launcher started.
        run_dir: the run's directory.
        checkpoint: the checkpoint to go on from; null for a run that begins.
    """
    with siblings.together("trainer"):
        digest = hashlib.sha256((run_dir / "config.yaml").read_bytes()).hexdigest()
        callbacks = run_callbacks(cli, run_dir, digest)
        trainer = cli.make_trainer(run_dir, [_announcement(cli, run_dir, checkpoint), *callbacks])
    recorder = next(callback for callback in callbacks if isinstance(callback, Recorder))
    siblings.join_process_group(trainer.strategy.root_device)
    if checkpoint is not None and checkpoints.deepspeed_parts(checkpoint):
        checkpoints.allow_deepspeeds_classes()  # in every process: each loads its part
    with resumable(trainer, run_dir), _flags_that_fit(cli):
        with _checkpoint_that_fits(checkpoint, recorder):
            trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
        if recorder.curve:
            # Weights from amid an epoch are nobody's: such a run is tested at its last whole epoch.
            whole = None if is_whole_epoch(trainer) else checkpoints.newest_sound_checkpoint(run_dir)
            trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path=whole, weights_only=True, verbose=False)
    if trainer.is_global_zero:
        _tell_outcome(cli, trainer, recorder)
    return 0


def _tell_outcome(cli: CIFARCLI, trainer: Trainer, recorder: Recorder) -> None:
    run_dir = recorder.run_dir
    for name, evaluation in cli.model.evaluations.items() if recorder.curve else ():
        what = "Test accuracy" + (", with test-time augmentation" if name == "test_tta" else "")
        tell(f"{what}: {100 * evaluation.metrics['accuracy']:.2f} % of {len(evaluation.labels):,} images")
    tell(f"Record: {run_dir}/result.json")
    if recorder.ended:
        limit = recorder.ended.partition(":")[0]
        more = f" and a larger {limit}, or none," if limit.startswith("trainer.") else ""
        tell(f"Ended by {recorder.ended}, {how_to_go_on(trainer, run_dir, done=len(recorder.curve), more=more)}")
    elif cli.reproduction.row is not None:  # of a recipe no report says what it should reach
        tell(f"Verdict: {cli.collection.command('verify', run_dir)}")
    logger = tensorboard_logger(trainer)
    if logger is not None and event_files(Path(logger.log_dir)):
        tell(f"TensorBoard: {_program('tensorboard')} --logdir {Path(logger.log_dir)}")


@contextmanager
def _checkpoint_that_fits(checkpoint: Path | None, recorder: Recorder) -> Iterator[None]:
    """Tells in one sentence what is wrong with a checkpoint that reads well and cannot be gone on from."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        if checkpoint is None or recorder.trains:
            raise
        told = one_line(error)
        raise UserError(
            f"{checkpoint} does not fit this run ({told}); without it the one before it is taken"
        ) from error


@contextmanager
def _flags_that_fit(cli: CIFARCLI) -> Iterator[None]:
    """Tells in one sentence what Lightning or a package refuses once the configuration is parsed."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"The configuration needs a package that is not installed: {one_line(error)}") from error
    except (UserError, EndedEarly):
        raise
    except Exception as error:
        flag = re.search(r"`(limit_\w+_batches|val_check_interval|overfit_batches)", str(error))
        if flag is not None and isinstance(error, MisconfigurationException | ValueError):
            raise UserError(f"trainer.{flag[1]} does not fit the data: {one_line(error)}") from error
        if machine_refuses(error):
            raise
        if "returned nan values" in str(error) and cli.plain_config["trainer"]["detect_anomaly"]:
            raise UserError(f"trainer.detect_anomaly ends the run: {one_line(error)}") from error
        lost = isinstance(error, RuntimeError) and count_processes(cli) > 1  # one of the processes, most likely
        if not lost and (told := what_refuses(error, cli.plain_config, cli.request.place)):
            raise UserError(told) from error
        if isinstance(error, MisconfigurationException):
            raise UserError(f"Lightning refuses the configuration: {one_line(error)}") from error
        raise


def run_callbacks(cli: CIFARCLI, run_dir: Path, config_sha256: str) -> list[Callback]:
    """Makes the callbacks that every run has.

    Args:
        cli: the parsed command.
        run_dir: the run's directory.
        config_sha256: digest of the run's config.yaml.
    """
    row = cli.reproduction.row
    facts = RunFacts(
        row=row,
        recipe=cli.reproduction.recipe,
        seed=cli.seed,
        planned_epochs=(cli.request.base if row and cli.request.base else cli.plain_config)["trainer"]["max_epochs"],
        curve_epochs=tuple(point.epoch for point in cli.reproduction.reported.curve),
        printed_epochs=cli.collection.printed_epochs(cli.collection.row(row)) if row else (),
        model_class_path=cli.plain_config["model"]["class_path"],
        trainable_parameters=cli.trainable_parameters,
        config_sha256=config_sha256,
        changed_from_row=cli.request.changed(),
    )
    return [
        EpochSeed(cli.seed),
        Recorder(run_dir, facts),
        CurvePoints(),
        TensorBoardExtras(flat(cli.plain_config), run_dir),
        EpochCheckpoint(run_dir / "checkpoints"),
    ]


def evaluate(cli: CIFARCLI, command: str, siblings: Siblings) -> int:
    """Evaluates a checkpoint: `validate` and `test` print metrics, `predict` writes a file."""
    with siblings.together("evaluation"):
        checkpoint, output = _choose_evaluation(cli, command)
        checkpoints.fit_weights(cli.model, checkpoints.checkpoint_weights(checkpoint), checkpoint)
        trainer = cli.make_trainer(None, [])
    siblings.join_process_group(trainer.strategy.root_device)
    action = getattr(trainer, command)
    quiet = {} if command == "predict" else {"verbose": False}
    with _flags_that_fit(cli):
        found = action(cli.model, datamodule=cli.datamodule, **quiet)
    if command == "predict":
        columns = _gather_columns(found, trainer.world_size)
    if not trainer.is_global_zero:
        return 0
    if command != "predict" and not cli.model.evaluations:
        raise UserError(f"{command} has looked at no image; the Trainer's flags leave nothing to look at")
    for name, evaluation in cli.model.evaluations.items():
        metrics = ", ".join(f"{metric} {value:.6f}" for metric, value in evaluation.metrics.items())
        tell(f"{name} ({len(evaluation.labels)} images, {checkpoint}): {metrics}")
    if output is not None:
        order = columns.pop("index").argsort()
        arrays: dict[str, Any] = {key: values[order].numpy() for key, values in columns.items()}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_file(output, content.getvalue(), "--output")
        tell(f"Predictions of {len(order)} test images: {output}")
    return 0


def _choose_evaluation(cli: CIFARCLI, command: str) -> tuple[Path, Path | None]:
    """Chooses the checkpoint to evaluate, and the file for predictions."""
    checkpoint: Path | None = cli.config["ckpt_path"]
    if checkpoint is None:
        folder = cli.config["run_dir"] or run_directory.runs() / cli.place / f"seed{cli.seed}"
        checkpoint = checkpoints.newest_sound_checkpoint(folder)
        if checkpoint is None:
            raise UserError(f"{folder} has no sound checkpoint to {command}; name one with --ckpt_path or --run_dir")
    elif not checkpoint.exists():
        raise UserError(f"--ckpt_path {checkpoint} does not exist")
    output = cli.config["output"] if command == "predict" else None
    if output is not None and output.exists():
        raise UserError(f"--output {output} exists, and nothing is overwritten; name another file")
    if output is not None and not os.access(output.parent, os.W_OK):
        raise UserError(f"--output {output} cannot be written: {output.parent} is no folder to write to")
    return checkpoint, output


def _gather_columns(batches: list[dict[str, torch.Tensor]], world_size: int) -> dict[str, torch.Tensor]:
    """Gathers the predictions of all processes, column by column."""
    mine = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
    everyone: list[Any] = [mine] * world_size
    if world_size > 1:
        torch.distributed.all_gather_object(everyone, mine)
    return {key: torch.cat([each[key] for each in everyone]) for key in mine}


def _announcement(cli: CIFARCLI, run_dir: Path, checkpoint: Path | None) -> Announcement:
    epochs = cli.plain_config["trainer"]["max_epochs"]
    place = ", ".join(filter(None, (cli.reproduction.report, cli.reproduction.where, cli.reproduction.label)))
    return Announcement(
        f"{cli.reproduction.name} ({place or 'no report'}), seed {cli.seed}, in {run_dir}",
        f"{type(cli.model).__name__}, {cli.trainable_parameters:,} parameters; "
        f"{epochs} epoch{'s' * (epochs != 1)} on "
        f"{'a sample of ' if cli.datamodule.sample else ''}{cli.datamodule.dataset.name}",
        cli.request.told_changes(),
        cli.request.precision,
        f"; kernels stock: {cli.request.why_stock}" * bool(cli.request.why_stock),
        f"; resuming from {checkpoint.name}" if checkpoint else "",
    )


def _program(name: str) -> str:
    """Finds a program of this environment as the user can call it, whether or not the environment is active."""
    if shutil.which(name):
        return name
    path = Path(sys.executable).parent / name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _in_thread(failed: threading.ExceptHookArgs) -> None:
    """Keeps silent of a full disk or a lost folder, on which TensorBoard's writer stumbles: so does the run itself."""
    if not (isinstance(failed.exc_value, FileNotFoundError) or machine_refuses(failed.exc_value)):
        threading.__excepthook__(failed)


def _taken_away(failed: Any) -> None:
    """Keeps silent of what Lightning's profilers stumble over when they are taken away after they were refused."""
    if not str(getattr(failed.object, "__module__", "")).startswith("lightning"):
        sys.__unraisablehook__(failed)


def quieten() -> None:
    """Silences what Lightning says to developers; CIFAR_HPC_DEBUG=1 brings it back."""
    threading.excepthook = _in_thread
    sys.unraisablehook = _taken_away
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # reports that somebody asked for
    for message in (
        ".*LeafSpec.*",
        ".*torch.jit.*",
        ".*treespec.*",
        ".*smaller than the logging interval.*",
        ".*torch.distributed.*is deprecated.*",  # DeepSpeed's calls
        ".*sync_dist=True.*",  # what is logged is the same on all processes by then
        ".*`srun` command is available.*",
    ):
        warnings.filterwarnings("ignore", message=message)
