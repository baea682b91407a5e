"""Where a run begins or goes on: its directory, the settings kept there, and the checkpoint to go on from."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cifar_hpc.collection.experiment import differences, experiment, resumed_changes
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.errors import UserError, is_deepspeed
from cifar_hpc.fit.configuration import CIFARCLI, config_text, count_processes
from cifar_hpc.fit.request import parse_files
from cifar_hpc.hpc.siblings import Siblings
from cifar_hpc.output import tell, write_file
from cifar_hpc.records import checkpoints, run_directory

_RUN_DIR_VARIABLE = "CIFAR_HPC_RUN_DIR"
"""Tells the processes that Lightning starts for other devices which process started them, and where its run lives."""


@contextmanager
def place_of_run(cli: CIFARCLI, siblings: Siblings) -> Iterator[tuple[Path, Path | None]]:
    """Holds a run's directory, and gives it with the checkpoint to go on from; a refused request leaves nothing behind.

    Raises:
        UserError: if there is no such place, or another process is at work in it.
    """
    parent, _, place = os.environ.get(_RUN_DIR_VARIABLE, "").partition(":")
    if parent == str(os.getppid()):  # it has chosen and holds the directory
        run_dir = Path(place)
        yield run_dir, checkpoints.newest_sound_checkpoint(run_dir) if cli.config["resume"] else None
        return
    with ExitStack() as held:
        chosen, began = None, False
        with siblings.together("run directory"):
            if siblings.rank == 0:
                chosen = _choose(cli)
                held.enter_context(run_directory.hold(chosen[0]))
                began = _keep_config(cli, chosen[0])
        answer = siblings.share("chosen", chosen and [str(path) if path else None for path in chosen])[0]
        run_dir, checkpoint = Path(answer[0]), Path(answer[1]) if answer[1] else None
        os.environ[_RUN_DIR_VARIABLE] = f"{os.getpid()}:{run_dir}"
        held.callback(os.environ.pop, _RUN_DIR_VARIABLE)
        try:
            yield run_dir, checkpoint
        except UserError:
            if began and not (run_dir / "checkpoints").is_dir():
                run_directory.remove(run_dir)
            raise


def _choose(cli: CIFARCLI) -> tuple[Path, Path | None]:
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
        tell(f"{complete} is complete, so there is nothing to resume: a new run starts", sys.stderr)
    return folder, None


def _check_same_experiment(cli: CIFARCLI, folder: Path) -> None:
    """Refuses to go on with a run as another experiment than it was."""
    if not run_directory.holds_run(folder):
        return
    kept = folder / "config.yaml"
    # Parsed, so that an argument that is newer than the run has its default.
    before = parse_files(cli.parser, [kept]) or read_yaml(kept)
    for key, (old, new) in resumed_changes(before, cli.plain_config).items():
        raise UserError(
            f"{folder}/config.yaml has {key}: {old}, but this command asks for {new}; a run is resumed with the "
            "settings that it was started with"
        )


def _check_same_engine(cli: CIFARCLI, checkpoint: Path) -> None:
    """Refuses a checkpoint of another engine: DeepSpeed's are folders with a part for each process, others files."""
    parts = checkpoints.deepspeed_parts(checkpoint)
    if is_deepspeed(cli.plain_config["trainer"]["strategy"]) != (parts > 0):
        raise UserError(
            f"{checkpoint} is {'' if parts else 'not '}DeepSpeed's, but trainer.strategy is "
            f"{cli.plain_config['trainer']['strategy']}; a run is resumed with the engine that it was started with"
        )
    if parts not in (0, processes := count_processes(cli)):
        raise UserError(
            f"{checkpoint} was written by {parts} processes of DeepSpeed, and only as many can read it; this "
            f"command would start {processes}"
        )


def _keep_config(cli: CIFARCLI, run_dir: Path) -> bool:
    """Writes the settings of a run that begins here, or goes on to another end; false for one that goes on."""
    begins = not run_directory.holds_run(run_dir)
    if begins or differences(experiment(read_yaml(run_dir / "config.yaml")), experiment(cli.plain_config)):
        try:
            write_file(run_dir / "config.yaml", config_text(cli))
        except UserError:
            if begins:
                run_directory.remove(run_dir)
            raise
    return begins
