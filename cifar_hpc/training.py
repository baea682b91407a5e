"""The commands `fit`, `validate`, `test` and `predict`: LightningCLI over a run's directory."""

import argparse
import hashlib
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentError, Namespace, set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from cifar_hpc import reproduction as rows
from cifar_hpc.allocator import keep_memory
from cifar_hpc.callbacks import EpochCheckpoint, EpochLines, EpochSeed
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.errors import UserError
from cifar_hpc.messages import explain_parser_error, one_sentence
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.records import run_directory
from cifar_hpc.records.recorder import Recorder, RunFacts
from cifar_hpc.records.tensorboard import TensorBoardExtras
from cifar_hpc.reproduction import Reproduction
from cifar_hpc.trainer import Trainer

# A configuration file may name these and nothing else to be imported.
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=["cifar_hpc", "torch.optim", "torch.nn", "lightning.pytorch", "torchmetrics"],
)

_RUN_KEYS = ("run_dir", "resume", "ckpt_path", "output", "config")
"""Arguments that belong to one run, not to what it does; they stay out of its config.yaml."""

_EXPERIMENT_TRAINER_KEYS = {
    "accumulate_grad_batches",
    "check_val_every_n_epoch",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_test_batches",
    "limit_train_batches",
    "limit_val_batches",
    "max_epochs",
    "max_steps",
    "max_time",
    "min_epochs",
    "min_steps",
    "overfit_batches",
    "sync_batchnorm",
    "val_check_interval",
}
"""Trainer flags that belong to the experiment; all others say where and how fast it runs."""

_ENGINE_DATA_KEYS = {"root", "num_workers", "eval_batch_size", "pipeline", "source"}
"""Arguments of the DataModule that change no result."""

_RUN_DIR_VARIABLE = "CIFAR_HPC_RUN_DIR"
"""Tells the processes that Lightning starts for other devices where the first one's run lives."""


class CIFARCLI(LightningCLI):
    """LightningCLI for one command, which it parses and instantiates but leaves to be run.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        arguments: what follows it on the command line.
    """

    def __init__(self, command: str, arguments: list[str]) -> None:
        self.command = command
        self.arguments = arguments
        super().__init__(
            model_class=Classifier,
            datamodule_class=CIFARDataModule,
            subclass_mode_model=True,
            trainer_class=Trainer,
            trainer_defaults={
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
            },
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": f"python -m cifar_hpc {command}",
                "description": _DESCRIPTIONS[command],
                "exit_on_error": False,
            },
            args=arguments,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the group `reproduction`, the run's directory, and what the command needs beside them."""
        parser.add_class_arguments(Reproduction, "reproduction")
        parser.add_argument(
            "--run_dir",
            type=Path | None,
            default=None,
            help="The run's directory (default: runs/<row>/seed<k>).",
        )
        if self.command == "fit":
            parser.add_argument(
                "--resume",
                type=bool,
                nargs="?",
                const=True,
                default=False,
                help="Go on with the unfinished run of the same row and seed (or in --run_dir).",
            )
        else:
            parser.add_argument(
                "--ckpt_path",
                type=Path | None,
                default=None,
                help="Checkpoint to take (default: the newest sound one of the run).",
            )
        if self.command == "predict":
            parser.add_argument(
                "--output",
                type=Path,
                default=Path("predictions.npz"),
                help="File to write the predictions to.",
            )
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line, with errors as one sentence and the whole of it checked."""
        self.config = parse(parser, self.arguments)
        self.config_files = _config_files(self.arguments)
        for path in self.config_files:
            group = rows.read_yaml(path).get("reproduction")
            if isinstance(group, dict) and group.get("row"):
                rows.read_row(path)
        self.plain_config = _plain(parser, self.config)
        self.row_config: dict[str, Any] | None = None
        row = self.plain_config["reproduction"]["row"]
        if row is not None:
            row_file = rows.load_row(row).path
            self.row_config = _plain(parser, parse(parser, ["-c", str(row_file)]))
        _check_hardware(self.plain_config, self.config_files)

    def instantiate_classes(self) -> None:
        """Instantiates model and data; the trainer waits for the run's directory."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = self.config_init["data"]
        self.model = self.config_init["model"]
        expected = self.plain_config["reproduction"]["trainable_parameters"]
        trainable = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        # Another network, or another number of classes, is the user's choice and is recorded as a change.
        chosen = any(key.startswith(("model.", "data.dataset")) for key in self.changed_from_row())
        if expected is not None and trainable != expected and not chosen:
            raise UserError(
                f"{self.plain_config['reproduction']['row']}: reproduction.trainable_parameters is {expected}, but "
                f"{type(self.model).__name__} has {trainable}"
            )

    @property
    def reproduction(self) -> Reproduction:
        """The row's group."""
        group = self.config_init["reproduction"]
        assert isinstance(group, Reproduction)
        return group

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed_everything"])

    def changed_from_row(self) -> dict[str, list[Any]]:
        """Experiment settings that differ from the row's file, as [row's value, run's value]."""
        if self.row_config is None:
            return {}
        return differences(experiment(self.row_config), experiment(self.plain_config))

    def config_text(self) -> str:
        """The run's configuration as YAML that `fit -c` takes again."""
        return yaml.safe_dump(self.plain_config, sort_keys=False, allow_unicode=True)

    def make_trainer(self, run_dir: Path | None, callbacks: list[Callback]) -> Trainer:
        """Instantiates the Trainer, logging to the run's directory."""
        if not torch.cuda.is_available():
            # Optimisers ask at every step whether there is a GPU, and a CUDA build without a driver searches for
            # one each time (0.1 ms); this answers at once.
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        settings = dict(self.config_init["trainer"])
        if run_dir is not None:
            settings["default_root_dir"] = str(run_dir)
            if settings.get("logger") in (None, True):
                settings["logger"] = TensorBoardLogger(
                    run_dir.parent, name=run_dir.name, version="", log_graph=True, default_hp_metric=False
                )
        else:
            settings["logger"] = False
        if settings.get("enable_progress_bar") is None:
            settings["enable_progress_bar"] = sys.stderr.isatty()
            callbacks = [
                *callbacks,
                TQDMProgressBar(refresh_rate=20) if sys.stderr.isatty() else EpochLines(),
            ]
        given = settings.get("callbacks") or []
        settings["callbacks"] = [*(given if isinstance(given, list) else [given]), *callbacks]
        try:
            return Trainer(**settings)
        except (MisconfigurationException, ValueError, RuntimeError, ModuleNotFoundError) as error:
            raise UserError(f"The Trainer cannot be set up: {one_sentence(str(error))}") from error


_DESCRIPTIONS = {
    "fit": "Train a row or recipe, measure it on the full test set, and leave a record.",
    "validate": "Evaluate a run's checkpoint on the sets that are looked at after each epoch.",
    "test": "Evaluate a run's checkpoint on the full test set.",
    "predict": "Write class and confidence of each test image.",
}


def run(command: str, arguments: list[str]) -> int:
    """Carries out one of the four commands; the exit status is 0 when it returns."""
    if not os.environ.get("CIFAR_HPC_DEBUG"):
        quieten()
    keep_memory()
    cli = CIFARCLI(command, arguments)
    return fit(cli) if command == "fit" else evaluate(cli, command)


def fit(cli: CIFARCLI) -> int:
    """Trains, then tests on the full test set, and keeps the record in the run's directory."""
    name, config = cli.reproduction.name, cli.config
    cli.datamodule.prepare_data()  # before a directory is made for a run that could not start
    run_dir, checkpoint = _choose_run_directory(cli, name, config["run_dir"], config["resume"])
    if _RUN_DIR_VARIABLE in os.environ:  # the process that started this one holds the directory
        return _fit_in(cli, run_dir, checkpoint)
    with run_directory.hold(run_dir):
        os.environ[_RUN_DIR_VARIABLE] = str(run_dir)
        try:
            return _fit_in(cli, run_dir, checkpoint)
        finally:
            del os.environ[_RUN_DIR_VARIABLE]


def _fit_in(cli: CIFARCLI, run_dir: Path, checkpoint: Path | None) -> int:
    config_file = run_dir / "config.yaml"
    if not config_file.exists():
        config_file.write_text(cli.config_text(), encoding="utf-8")
    digest = hashlib.sha256(config_file.read_bytes()).hexdigest()
    trainer = cli.make_trainer(run_dir, run_callbacks(cli, run_dir, digest))
    if trainer.is_global_zero:
        _announce(cli, run_dir, checkpoint, trainer)
    try:
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=False)
        trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    except SystemExit as interrupted:  # what Lightning makes of Ctrl-C, with a status that means something else here
        raise KeyboardInterrupt from interrupted
    if trainer.is_global_zero:
        print(f"Record: {run_dir}/result.json")
        print(f"Verdict: python -m cifar_hpc verify {run_dir}")
        print(f"TensorBoard: {_program('tensorboard')} --logdir {run_dir}")
    return 0


def run_callbacks(cli: CIFARCLI, run_dir: Path, config_sha256: str) -> list[Callback]:
    """The callbacks that every run has.

    Args:
        cli: the parsed command.
        run_dir: the run's directory.
        config_sha256: digest of the run's config.yaml.
    """
    facts = RunFacts(
        row=cli.reproduction.row,
        recipe=cli.reproduction.recipe,
        seed=cli.seed,
        planned_epochs=(cli.row_config or cli.plain_config)["trainer"]["max_epochs"],
        curve_epochs=tuple(point.epoch for point in cli.reproduction.reported.curve),
        model_class_path=cli.plain_config["model"]["class_path"],
        config_sha256=config_sha256,
        changed_from_row=cli.changed_from_row(),
    )
    return [
        EpochSeed(cli.seed),
        Recorder(run_dir, facts),
        TensorBoardExtras(_flat(cli.plain_config)),
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


def evaluate(cli: CIFARCLI, command: str) -> int:
    """Evaluates a checkpoint: `validate` and `test` print metrics, `predict` writes a file."""
    checkpoint = cli.config["ckpt_path"]
    if checkpoint is None:
        folder = cli.config["run_dir"] or run_directory.RUNS / cli.reproduction.name / f"seed{cli.seed}"
        checkpoint = run_directory.newest_sound_checkpoint(folder)
        if checkpoint is None:
            raise UserError(f"{folder} has no sound checkpoint to {command}; name one with --ckpt_path or --run_dir")
    elif not checkpoint.is_file():
        raise UserError(f"--ckpt_path {checkpoint} does not exist")
    output = cli.config["output"] if command == "predict" else None
    if output is not None and output.exists():
        raise UserError(f"--output {output} exists, and nothing is overwritten; name another file")
    trainer = cli.make_trainer(None, [])
    action = getattr(trainer, command)
    quiet = {} if command == "predict" else {"verbose": False}
    found = action(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=False, **quiet)
    for name, evaluation in cli.model.evaluations.items():
        metrics = ", ".join(f"{metric} {value:.6f}" for metric, value in evaluation.metrics.items())
        print(f"{name} ({len(evaluation.labels)} images, {checkpoint}): {metrics}")
    if output is not None:
        columns = {key: torch.cat([batch[key] for batch in found]).cpu() for key in found[0]}
        order = columns.pop("index").argsort()
        arrays: dict[str, Any] = {key: values[order].numpy() for key, values in columns.items()}
        np.savez_compressed(output, **arrays)
        print(f"Predictions of {len(order)} test images: {output}")
    return 0


def parse(parser: LightningArgumentParser, arguments: list[str]) -> Namespace:
    """Parses a command line.

    Raises:
        UserError: one sentence that names the file and key.
    """
    files = _config_files(arguments)
    for path in files:
        content = rows.read_yaml(path)  # says what is wrong with a file better than the parser does
        _check_seed(content.get("seed_everything", 0), str(path))
    try:
        config = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(explain_parser_error(str(error), files, arguments)) from error
    _check_seed(config["seed_everything"], "The command line")
    return config


def _check_seed(seed: Any, place: str) -> None:
    """Lightning would take `true` for 0 and draw a seed of its own in other cases."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(
            f"{place}: seed_everything is {seed}; it must be a whole number of at least 0, from which the order of "
            "the images follows"
        )


def experiment(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that make the experiment, flat, without those that say where and how fast it runs."""
    flat = _flat({key: value for key, value in config.items() if key != "seed_everything"})

    def belongs(key: str) -> bool:
        group, _, rest = key.partition(".")
        if group == "trainer":
            return rest in _EXPERIMENT_TRAINER_KEYS
        return not (group == "data" and rest in _ENGINE_DATA_KEYS)

    return {key: value for key, value in flat.items() if belongs(key)}


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    """Keys whose values differ, with both values."""
    keys = [*first, *(key for key in second if key not in first)]
    return {key: [first.get(key), second.get(key)] for key in keys if first.get(key) != second.get(key)}


def _plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """A parsed configuration as plain data, without what belongs to one run."""
    dumped: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_none=False, format="yaml"))
    return {key: value for key, value in dumped.items() if key not in _RUN_KEYS}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists stay values."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {
        key: value
        for name, inner in config.items()
        for key, value in _flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _config_files(arguments: list[str]) -> list[Path]:
    """The configuration files that a command line names, in order."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("-c", "--config", action="append", default=[], type=Path)
    try:
        found: list[Path] = finder.parse_known_args(arguments)[0].config
    except SystemExit:
        raise UserError("-c needs the name of a configuration file behind it") from None
    return found


def _check_hardware(config: dict[str, Any], files: list[Path]) -> None:
    """Stops a run whose accelerator is not there before anything is made."""
    accelerator = config["trainer"]["accelerator"]
    if accelerator not in ("gpu", "cuda") or torch.cuda.is_available():
        return
    if accelerator == "gpu" and torch.backends.mps.is_available():
        return
    file = next((str(f) for f in files if rows.read_yaml(f).get("trainer", {}).get("accelerator")), "The run")
    raise UserError(
        f"{file} asks for trainer.accelerator: {accelerator}, and this machine has no usable GPU; add "
        "`-c configs/cpu.yaml` to run it on the CPU"
    )


def _choose_run_directory(cli: CIFARCLI, name: str, run_dir: Path | None, resume: bool) -> tuple[Path, Path | None]:
    """The run's directory, and the checkpoint to go on from."""
    if _RUN_DIR_VARIABLE in os.environ:
        folder = Path(os.environ[_RUN_DIR_VARIABLE])
        return folder, run_directory.newest_sound_checkpoint(folder) if resume else None
    if resume and (found := run_directory.find_unfinished(name, cli.seed, run_dir)) is not None:
        _check_same_experiment(cli, found)
        # Without a sound checkpoint the run starts again in its place: there is nothing to lose.
        return found, run_directory.newest_sound_checkpoint(found)
    folder = run_directory.new_run_directory(name, cli.seed, run_dir)
    return folder, None


def _check_same_experiment(cli: CIFARCLI, folder: Path) -> None:
    """A run goes on as the experiment that it was."""
    if not (folder / "config.yaml").exists():
        return
    before = rows.read_yaml(folder / "config.yaml")
    changed = differences(experiment(before), experiment(cli.plain_config))
    if before.get("seed_everything") != cli.seed:
        changed = {"seed_everything": [before.get("seed_everything"), cli.seed], **changed}
    if changed:
        key, (old, new) = next(iter(changed.items()))
        raise UserError(
            f"{folder}/config.yaml has {key}: {old}, but this command asks for {new}; a run is resumed with the "
            "settings that it was started with"
        )


def _announce(cli: CIFARCLI, run_dir: Path, checkpoint: Path | None, trainer: Trainer) -> None:
    """Two lines on what is about to run."""
    trainable = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    place = ", ".join(filter(None, (cli.reproduction.report, cli.reproduction.where, cli.reproduction.label)))
    print(f"{cli.reproduction.name} ({place or 'no report'}), seed {cli.seed}, in {run_dir}", file=sys.stderr)
    print(
        f"{type(cli.model).__name__}, {trainable:,} parameters; {trainer.max_epochs} epochs on "
        f"{'a sample of ' if cli.datamodule.sample else ''}{cli.datamodule.dataset.name}; "
        f"{trainer.world_size} × {trainer.strategy.root_device.type}, {torch.get_num_threads()} threads, "
        f"precision {trainer.precision}" + (f"; resuming from {checkpoint.name}" if checkpoint else ""),
        file=sys.stderr,
        flush=True,
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
    for message in (".*LeafSpec.*", ".*torch.jit.*", ".*treespec.*", ".*smaller than the logging interval.*"):
        warnings.filterwarnings("ignore", message=message)
