"""The configuration of `fit`, `validate`, `test` and `predict`: LightningCLI's parser with our keys and checks."""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace, set_parsing_settings
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from cifar_hpc.collection.experiment import differences, experiment
from cifar_hpc.collection.folder import COLLECTION_HELP, chosen, configuration_file
from cifar_hpc.collection.messages import explain_parser_error, one_sentence, place_of
from cifar_hpc.collection.reproduction import Reproduction
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.errors import UserError, check_deepspeed
from cifar_hpc.fit.limits import check_limits, is_smoke
from cifar_hpc.fit.progress import EpochBar, EpochLines
from cifar_hpc.fit.tensorboard import RunLogger
from cifar_hpc.fit.trainer import Trainer, as_list, runs_on_cpu
from cifar_hpc.hpc.environment import LaunchedEnvironment
from cifar_hpc.hpc.launch import Launch, check_trainer, count_devices
from cifar_hpc.hpc.placement import Place
from cifar_hpc.machine import choose_precision, usable_cores
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.speed.kernels import needs_stock

# A configuration file may name these and nothing else to be imported.
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=["cifar_hpc", "torch.optim", "torch.nn", "lightning.pytorch", "torchmetrics"],
)

_RUN_KEYS = ("run_dir", "resume", "ckpt_path", "output", "config", "collection")
"""Arguments that belong to one run, not to what it does; they stay out of its config.yaml."""

_DESCRIPTIONS = {
    "fit": "Train a row or recipe, measure it on the full test set, and leave a record.",
    "validate": "Evaluate a run's checkpoint on the sets that are looked at after each epoch.",
    "test": "Evaluate a run's checkpoint on the full test set.",
    "predict": "Write class and confidence of each test image.",
}


class CIFARCLI(LightningCLI):
    """LightningCLI for one command, which it parses and instantiates but leaves to be run.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        arguments: what follows it on the command line.
        launch: this process's place in what torchrun, mpirun or srun started.
    """

    def __init__(self, command: str, arguments: list[str], launch: Launch | None = None) -> None:
        self.command = command
        self.arguments = with_files(arguments)
        self.launch = launch
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
            args=self.arguments,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the group `reproduction`, the run's directory, and what the command needs beside them."""
        parser.add_class_arguments(Reproduction, "reproduction")
        parser.add_argument("--collection", metavar="DIR", help=COLLECTION_HELP)  # taken before this parser sees it
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
        self.config_files = _config_files(self.arguments)
        self.collection = chosen()
        for path in self.config_files:
            group = read_yaml(path).get("reproduction")
            if isinstance(group, dict) and group.get("row") and not self.collection.read(path).trains:
                raise UserError(f"{path} is for `audit` alone: it has no trainer, model and data to train")
        self.config = parse(parser, self.arguments)
        self.precision = choose_precision(str(self.config["trainer"]["precision"]), runs_on_cpu(self.config["trainer"]))
        if self.config["trainer"]["precision"] == "auto":
            # The run's config.yaml names what was taken, so that it means the same on another machine.
            self.config["trainer"]["precision"] = self.precision.name
        self.plain_config = _plain(parser, self.config)
        self.why_stock = needs_stock(self.plain_config)
        if self.why_stock:
            self.config["trainer"]["kernels"] = self.plain_config["trainer"]["kernels"] = "stock"
        self.row_config: dict[str, Any] | None = None
        row = self.plain_config["reproduction"]["row"]
        if row is not None:
            row_file = self.collection.row(row).path
            self.row_config = _plain(parser, parse(parser, ["-c", str(row_file)]))
        place = partial(place_of, files=self.config_files, arguments=self.arguments)
        check_limits(self.command, self.plain_config, usable_cores(), place)
        _check_hardware(self.plain_config, self.config_files)
        check_trainer(self.plain_config["trainer"], self.launch, usable_cores(), torch.cuda.device_count())

    def instantiate_classes(self) -> None:
        """Instantiates model and data; the trainer waits for the run's directory."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = self.config_init["data"]
        self.model = self.config_init["model"]
        self._check_classes()
        expected = self.plain_config["reproduction"]["trainable_parameters"]
        self.trainable_parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        # Another network, or another number of classes, is the user's choice and is recorded as a change.
        chosen = any(key.startswith(("model.", "data.dataset")) for key in self.changed_from_row())
        if expected is not None and self.trainable_parameters != expected and not chosen:
            raise UserError(
                f"{self.plain_config['reproduction']['row']}: reproduction.trainable_parameters is {expected}, but "
                f"{type(self.model).__name__} has {self.trainable_parameters}"
            )

    def _check_classes(self) -> None:
        """A network with fewer outputs than classes breaks at its first batch; with more, the averages are wrong."""
        key, dataset = "model.init_args.num_classes", self.datamodule.dataset
        outputs = self.plain_config["model"].get("init_args", {}).get("num_classes", dataset.classes)
        if outputs != dataset.classes:
            raise UserError(
                f"{place_of(key, self.config_files, self.arguments)}: {key} is {outputs}, but {dataset.name} has "
                f"{dataset.classes} classes; set it to {dataset.classes}, or data.dataset to the other dataset"
            )

    @property
    def reproduction(self) -> Reproduction:
        """The row's group."""
        group = self.config_init["reproduction"]
        assert isinstance(group, Reproduction)
        return group

    @property
    def place(self) -> str:
        """The folder under `runs/` of all its runs: those on a part of the dataset lie where no real run goes."""
        return self.reproduction.name + "/smoke" * is_smoke(self.plain_config)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed_everything"])

    @property
    def processes(self) -> int:
        """Number of processes that will train."""
        if self.launch is not None:
            return self.launch.world_size
        everything = torch.cuda.device_count() if self.plain_config["trainer"]["accelerator"] != "cpu" else 1
        return count_devices(self.plain_config["trainer"]["devices"]) or max(1, everything)

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
                settings["logger"] = RunLogger(run_dir, self.plain_config, _can_draw_graph(settings))
        else:
            settings["logger"] = False
        if settings.get("enable_progress_bar") is None:
            settings["enable_progress_bar"] = sys.stderr.isatty()
            callbacks = [*callbacks, EpochBar() if sys.stderr.isatty() else EpochLines()]
        if self.launch is not None:
            settings["devices"], settings["num_nodes"] = self.launch.local_size, self.launch.nodes
        # Named, because Lightning would otherwise look for launchers itself and start MPI to do so.
        environment = LightningEnvironment() if self.launch is None else LaunchedEnvironment(self.launch)
        settings["plugins"] = [*as_list(settings.get("plugins")), environment]
        callbacks = [Place(settings.get("threads")), *callbacks]
        settings["callbacks"] = [*as_list(settings.get("callbacks")), *callbacks]
        try:
            return Trainer(**settings)
        except (MisconfigurationException, TypeError, ValueError, RuntimeError, ModuleNotFoundError) as error:
            raise UserError(f"The Trainer cannot be set up: {one_sentence(str(error))}") from error


def parse(parser: LightningArgumentParser, arguments: list[str]) -> Namespace:
    """Parses a command line.

    Raises:
        UserError: one sentence that names the file and key.
    """
    files = _config_files(arguments)
    for path in files:
        content = read_yaml(path)  # says what is wrong with a file better than the parser does
        _check_seed(content.get("seed_everything", 0), str(path))
    try:
        config = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(explain_parser_error(str(error), files, arguments)) from error
    _check_seed(config["seed_everything"], "The command line")
    return config


def _check_seed(seed: Any, place: str) -> None:
    """Lightning would take `true` for 0 and draw a seed of its own in other cases."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(
            f"{place}: seed_everything is {seed}; it must be a whole number of at least 0 and below 2**32, from which "
            "the order of the images follows"
        )


def _plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """A parsed configuration as plain data, without what belongs to one run."""
    # Parsing has just checked it, and JSON is quick to read: together a third of the time.
    dumped: dict[str, Any] = json.loads(parser.dump(config, skip_none=False, skip_validation=True, format="json"))
    return {key: value for key, value in dumped.items() if key not in _RUN_KEYS}


def _can_draw_graph(settings: dict[str, Any]) -> bool:
    """Drawing runs the network on fp32 images in one process; ZeRO needs all of them, `bf16-true` other images."""
    draws = (None, 32, "32", "32-true", "16-mixed", "bf16-mixed")
    return settings["precision"] in draws and "deepspeed" not in str(settings["strategy"])


def with_files(arguments: list[str]) -> list[str]:
    """A command line with the files in place of the names that it gives behind -c.

    Raises:
        UserError: if nothing is called so.
    """
    found = []
    for before, argument in zip([None, *arguments], arguments, strict=False):
        flag, equals, name = argument.partition("=")
        if before in ("-c", "--config"):
            found.append(str(configuration_file(argument)))
        elif equals and flag in ("-c", "--config"):
            found += [flag, str(configuration_file(name))]
        else:
            found.append(argument)
    return found


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
    """Stops a run whose accelerator or engine is not there before anything is made."""
    accelerator, strategy = config["trainer"]["accelerator"], str(config["trainer"]["strategy"])
    if "deepspeed" in strategy:
        check_deepspeed(f"trainer.strategy: {strategy}")
    if accelerator not in ("gpu", "cuda") or torch.cuda.is_available():
        return
    if accelerator == "gpu" and torch.backends.mps.is_available():
        return
    asking = [f for f in files if read_yaml(f).get("trainer", {}).get("accelerator") == accelerator]
    file = asking[-1] if asking else "The command line"
    raise UserError(
        f"{file} asks for trainer.accelerator: {accelerator}, and this machine has no usable GPU; add "
        "`-c cpu` to run it on the CPU"
    )
