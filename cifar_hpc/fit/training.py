"""The commands `fit`, `validate`, `test` and `predict`, over a run's directory."""

import hashlib
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from cifar_hpc.collection.experiment import differences, experiment, flat
from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError
from cifar_hpc.fit.callbacks import Announcement, EpochCheckpoint, EpochSeed
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.fit.recorder import Recorder, RunFacts
from cifar_hpc.fit.tensorboard import TensorBoardExtras
from cifar_hpc.hpc.ending import resumable
from cifar_hpc.hpc.launch import find_launch
from cifar_hpc.hpc.siblings import Siblings
from cifar_hpc.records import checkpoints, run_directory
from cifar_hpc.speed.allocator import keep_memory

_RUN_DIR_VARIABLE = "CIFAR_HPC_RUN_DIR"
"""Tells the processes that Lightning starts for other devices where the first one's run lives."""


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
        if cli.processes > 1 and command == "fit":
            cli.datamodule.setup("fit")
            cli.datamodule.check_processes(cli.processes)
    return fit(cli, siblings) if command == "fit" else evaluate(cli, command, siblings)


def fit(cli: CIFARCLI, siblings: Siblings) -> int:
    """Trains, then tests on the full test set, and keeps the record in the run's directory."""
    if _RUN_DIR_VARIABLE in os.environ:  # the process that started this one has chosen and holds the directory
        run_dir = Path(os.environ[_RUN_DIR_VARIABLE])
        checkpoint = checkpoints.newest_sound_checkpoint(run_dir) if cli.config["resume"] else None
        return _fit_in(cli, siblings, run_dir, checkpoint)
    with ExitStack() as held:
        chosen, began = None, False
        with siblings.together("run directory"):
            if siblings.rank == 0:
                chosen = _choose_run_directory(cli)
                held.enter_context(run_directory.hold(chosen[0]))
                began = _keep_config(cli, chosen[0])
        answer = siblings.share("chosen", chosen and [str(path) if path else None for path in chosen])[0]
        run_dir, checkpoint = Path(answer[0]), Path(answer[1]) if answer[1] else None
        os.environ[_RUN_DIR_VARIABLE] = str(run_dir)
        held.callback(os.environ.pop, _RUN_DIR_VARIABLE)
        try:
            return _fit_in(cli, siblings, run_dir, checkpoint)
        except UserError:
            if began and not (run_dir / "checkpoints").is_dir():
                run_directory.remove(run_dir)  # a refused request leaves nothing behind
            raise


def _fit_in(cli: CIFARCLI, siblings: Siblings, run_dir: Path, checkpoint: Path | None) -> int:
    with siblings.together("trainer"):
        digest = hashlib.sha256((run_dir / "config.yaml").read_bytes()).hexdigest()
        callbacks = [_announcement(cli, run_dir, checkpoint), *run_callbacks(cli, run_dir, digest)]
        trainer = cli.make_trainer(run_dir, callbacks)
    siblings.join_process_group(trainer.strategy.root_device)
    if checkpoint is not None and checkpoints.deepspeed_parts(checkpoint):
        checkpoints.allow_deepspeeds_classes()  # in every process: each loads its part
    with resumable(trainer, run_dir), _told():
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
        trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    if trainer.is_global_zero:
        for name, evaluation in cli.model.evaluations.items():
            what = "Test accuracy" + (", with test-time augmentation" if name == "test_tta" else "")
            print(f"{what}: {100 * evaluation.metrics['accuracy']:.2f} % of {len(evaluation.labels):,} images")
        print(f"Record: {run_dir}/result.json")
        if cli.reproduction.row is not None:  # of a recipe no report says what it should reach
            print(f"Verdict: {cli.collection.command('verify', run_dir)}")
        print(f"TensorBoard: {_program('tensorboard')} --logdir {run_dir}")
    return 0


@contextmanager
def _told() -> Iterator[None]:
    """Tells in one sentence what Lightning finds wrong with a flag once it has seen the data."""
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        flag = re.search(r"`(limit_\w+_batches|val_check_interval|overfit_batches)", str(error))
        if flag is None:
            raise
        raise UserError(f"trainer.{flag[1]} does not fit the data: {one_sentence(str(error))}") from error


def run_callbacks(cli: CIFARCLI, run_dir: Path, config_sha256: str) -> list[Callback]:
    """The callbacks that every run has.

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
        planned_epochs=(cli.row_config or cli.plain_config)["trainer"]["max_epochs"],
        curve_epochs=tuple(point.epoch for point in cli.reproduction.reported.curve),
        printed_epochs=cli.collection.printed_epochs(cli.collection.row(row)) if row else (),
        model_class_path=cli.plain_config["model"]["class_path"],
        trainable_parameters=cli.trainable_parameters,
        config_sha256=config_sha256,
        changed_from_row=cli.changed_from_row(),
    )
    return [
        EpochSeed(cli.seed),
        Recorder(run_dir, facts),
        TensorBoardExtras(flat(cli.plain_config)),
        # The classifier logs the epoch, from 1, as `step`; the two newest are kept, so that one damaged
        # in writing costs an epoch and not the run.
        EpochCheckpoint(
            run_dir / "checkpoints",
            filename="epoch{step:04d}",
            auto_insert_metric_name=False,
            monitor="step",
            mode="max",
            save_top_k=2,
            save_on_train_epoch_end=True,
        ),
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
    found = action(cli.model, datamodule=cli.datamodule, **quiet)
    if command == "predict":
        columns = _gather_columns(found, trainer.world_size)
    if not trainer.is_global_zero:
        return 0
    for name, evaluation in cli.model.evaluations.items():
        metrics = ", ".join(f"{metric} {value:.6f}" for metric, value in evaluation.metrics.items())
        print(f"{name} ({len(evaluation.labels)} images, {checkpoint}): {metrics}")
    if output is not None:
        order = columns.pop("index").argsort()
        arrays: dict[str, Any] = {key: values[order].numpy() for key, values in columns.items()}
        part = output.with_name(f".{output.name}.part")
        with part.open("wb") as file:  # given a name, NumPy would add a suffix to one that has none
            np.savez_compressed(file, **arrays)
        os.replace(part, output)
        print(f"Predictions of {len(order)} test images: {output}")
    return 0


def _choose_evaluation(cli: CIFARCLI, command: str) -> tuple[Path, Path | None]:
    """The checkpoint to evaluate, and the file for predictions."""
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
    """The predictions of all processes, column by column."""
    mine = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
    everyone: list[Any] = [mine] * world_size
    if world_size > 1:
        torch.distributed.all_gather_object(everyone, mine)
    return {key: torch.cat([each[key] for each in everyone]) for key in mine}


def _choose_run_directory(cli: CIFARCLI) -> tuple[Path, Path | None]:
    """The run's directory, and the checkpoint to go on from."""
    name, run_dir = cli.place, cli.config["run_dir"]
    if cli.config["resume"] and (found := run_directory.find_unfinished(name, cli.seed, run_dir)) is not None:
        _check_same_experiment(cli, found)
        # Without a sound checkpoint the run starts again in its place: there is nothing to lose.
        checkpoint = checkpoints.newest_sound_checkpoint(found)
        if checkpoint is not None:
            _check_same_engine(cli, checkpoint)
            if not checkpoints.deepspeed_parts(checkpoint):
                checkpoints.fit_weights(cli.model, checkpoints.checkpoint_weights(checkpoint), checkpoint)
        return found, checkpoint
    folder = run_directory.new_run_directory(name, cli.seed, run_dir)
    if cli.config["resume"] and run_dir is None and (complete := run_directory.newest(name, cli.seed, "complete")):
        print(f"{complete} is complete, so there is nothing to resume: a new run starts", file=sys.stderr, flush=True)
    return folder, None


def _check_same_experiment(cli: CIFARCLI, folder: Path) -> None:
    """A run goes on as the experiment that it was."""
    if not (folder / "config.yaml").exists():
        return
    before = read_yaml(folder / "config.yaml")
    changed = differences(experiment(before), experiment(cli.plain_config))
    if before.get("seed_everything") != cli.seed:
        changed = {"seed_everything": [before.get("seed_everything"), cli.seed], **changed}
    if changed:
        key, (old, new) = next(iter(changed.items()))
        raise UserError(
            f"{folder}/config.yaml has {key}: {old}, but this command asks for {new}; a run is resumed with the "
            "settings that it was started with"
        )


def _check_same_engine(cli: CIFARCLI, checkpoint: Path) -> None:
    """DeepSpeed's checkpoints are folders with a part for each process; all other engines share one kind of file."""
    parts = checkpoints.deepspeed_parts(checkpoint)
    deepspeed = "deepspeed" in str(cli.plain_config["trainer"]["strategy"])
    if deepspeed != (parts > 0):
        raise UserError(
            f"{checkpoint} is {'' if parts else 'not '}DeepSpeed's, but trainer.strategy is "
            f"{cli.plain_config['trainer']['strategy']}; a run is resumed with the engine that it was started with"
        )
    if parts not in (0, cli.processes):
        raise UserError(
            f"{checkpoint} was written by {parts} processes of DeepSpeed, and only as many can read it; this "
            f"command would start {cli.processes}"
        )


def _keep_config(cli: CIFARCLI, run_dir: Path) -> bool:
    """Writes the settings of a run that begins here; false for one that goes on."""
    if run_directory.holds_run(run_dir):
        return False
    (run_dir / "config.yaml").write_text(cli.config_text(), encoding="utf-8")
    return True


def _announcement(cli: CIFARCLI, run_dir: Path, checkpoint: Path | None) -> Announcement:
    epochs = cli.plain_config["trainer"]["max_epochs"]
    place = ", ".join(filter(None, (cli.reproduction.report, cli.reproduction.where, cli.reproduction.label)))
    return Announcement(
        f"{cli.reproduction.name} ({place or 'no report'}), seed {cli.seed}, in {run_dir}",
        f"{type(cli.model).__name__}, {cli.trainable_parameters:,} parameters; "
        f"{epochs} epoch{'s' * (epochs != 1)} on "
        f"{'a sample of ' if cli.datamodule.sample else ''}{cli.datamodule.dataset.name}",
        cli.precision,
        f"; kernels stock: {cli.why_stock}" * bool(cli.why_stock),
        f"; resuming from {checkpoint.name}" if checkpoint else "",
    )


def _program(name: str) -> str:
    """A program of this environment as the user can call it, whether or not the environment is active."""
    if shutil.which(name):
        return name
    path = Path(sys.executable).parent / name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def quieten() -> None:
    """Silences what Lightning says to developers; CIFAR_HPC_DEBUG=1 brings it back."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
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
