"""The command line of `fit`, `validate`, `test` and `predict`: LightningCLI with our arguments and checks."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from cifar_hpc.collection.folder import COLLECTION_HELP, chosen
from cifar_hpc.collection.reproduction import Reproduction
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.errors import UserError, is_deepspeed
from cifar_hpc.fit.first_screen import COMMANDS, part_of_help, what_it_does
from cifar_hpc.fit.limits import is_smoke
from cifar_hpc.fit.loggers import run_loggers
from cifar_hpc.fit.progress import EpochBar, EpochLines
from cifar_hpc.fit.refusals import REFUSALS, trainer_refusal
from cifar_hpc.fit.request import Request, instantiate, read_request, with_files
from cifar_hpc.fit.trainer import Trainer, as_list
from cifar_hpc.hpc.launch import Launch, count_devices
from cifar_hpc.hpc.launched_environment import LaunchedEnvironment
from cifar_hpc.hpc.placement import Place
from cifar_hpc.models.classifier import Classifier

_TRAINER_DEFAULTS = {"enable_model_summary": False, "num_sanity_val_steps": 0, "use_distributed_sampler": False}

_ARGUMENTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "--run_dir": (
        tuple(COMMANDS),
        {"type": Path | None, "default": None, "help": "The run's directory (default: runs/<row>/seed<k>)."},
    ),
    "--resume": (
        ("fit",),
        {
            "type": bool,
            "nargs": "?",
            "const": True,
            "default": False,
            "help": "Go on with the unfinished run of the same row and seed (or in --run_dir).",
        },
    ),
    "--ckpt_path": (
        ("validate", "test", "predict"),
        {
            "type": Path | None,
            "default": None,
            "help": "Checkpoint to take (default: the newest sound one of the run).",
        },
    ),
    "--output": (
        ("predict",),
        {"type": Path, "default": Path("predictions.npz"), "help": "File to write the predictions to."},
    ),
}
"""Our arguments besides Lightning's groups, with the commands that have them."""


class CIFARCLI(LightningCLI):
    """LightningCLI for one command, which it parses and instantiates but leaves to be run.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        arguments: what follows it on the command line.
        launch: this process's place in what torchrun, mpirun or srun started.
    """

    def __init__(self, command: str, arguments: list[str], launch: Launch | None = None) -> None:
        self.command, self.arguments, self.launch = command, with_files(arguments), launch
        self.collection = chosen()
        # Settings come from files and flags, which the record names; jsonargparse would look for variables too.
        os.environ.pop("JSONARGPARSE_DEFAULT_ENV", None)
        super().__init__(
            model_class=Classifier,
            datamodule_class=CIFARDataModule,
            subclass_mode_model=True,
            trainer_class=Trainer,
            trainer_defaults=_TRAINER_DEFAULTS,
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": f"python -m cifar_hpc {command}",
                "description": what_it_does(command),
                "exit_on_error": False,
                "allow_abbrev": False,
            },
            args=self.arguments,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the group `reproduction`, the run's directory, and what the command needs beside them."""
        parser.add_class_arguments(Reproduction, "reproduction")
        parser.add_argument("--collection", metavar="DIR", help=COLLECTION_HELP)  # taken before this parser sees it
        for name, (commands, settings) in _ARGUMENTS.items():
            if self.command in commands:
                parser.add_argument(name, **settings)
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line, with errors as one sentence and the whole of it checked."""
        self.request = read_request(parser, self.command, self.arguments, self.launch)
        self.config, self.plain_config = self.request.config, self.request.plain

    def instantiate_classes(self) -> None:
        """Instantiates model and data; the trainer waits for the run's directory."""
        self.config_init = instantiate(self.parser, self.request)
        self.datamodule, self.model = self.config_init["data"], self.config_init["model"]
        self.reproduction: Reproduction = self.config_init["reproduction"]
        self.seed = int(self.config["seed_everything"])
        # Runs on a part of the dataset lie where no real run goes.
        self.place = self.reproduction.name + "/smoke" * is_smoke(self.plain_config)
        self.trainable_parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self._check_network()

    def _check_network(self) -> None:
        """Refuses outputs other than the classes: fewer break a batch, more make averages wrong; and another size."""
        key, dataset = "model.init_args.num_classes", self.datamodule.dataset
        outputs = self.plain_config["model"].get("init_args", {}).get("num_classes", dataset.classes)
        if outputs != dataset.classes:
            raise UserError(
                f"{self.request.place(key)}: {key} is {outputs}, but {dataset.name} has {dataset.classes} classes; "
                f"set it to {dataset.classes}, or data.dataset to the other dataset"
            )
        expected = self.reproduction.trainable_parameters
        # Another network, or another number of classes, is the user's choice and is recorded as a change.
        chosen = any(key.startswith(("model.", "data.dataset")) for key in self.request.changed())
        if expected is not None and self.trainable_parameters != expected and not chosen:
            raise UserError(
                f"{self.reproduction.row}: reproduction.trainable_parameters is {expected}, but "
                f"{type(self.model).__name__} has {self.trainable_parameters}"
            )

    def make_trainer(self, run_dir: Path | None, callbacks: list[Callback]) -> Trainer:
        """Instantiates the Trainer, logging to the run's directory where there is one."""
        settings = dict(self.config_init["trainer"])
        return make_trainer(settings, self.request, run_dir, callbacks, self.launch)


def help_of(command: str, part: str) -> str:
    """Makes the long help of a command, or a part of it."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        CIFARCLI(command, ["--help"])
    return part_of_help(text.getvalue().rstrip(), part)


def config_text(cli: CIFARCLI) -> str:
    """Writes a run's configuration as YAML that `fit -c` takes again."""
    return yaml.safe_dump(cli.plain_config, sort_keys=False, allow_unicode=True)


def count_processes(cli: CIFARCLI) -> int:
    """Counts the processes that will train."""
    if cli.launch is not None:
        return cli.launch.world_size
    everything = torch.cuda.device_count() if cli.plain_config["trainer"]["accelerator"] != "cpu" else 1
    return count_devices(cli.plain_config["trainer"]["devices"]) or max(1, everything)


def make_trainer(
    settings: dict[str, Any],
    request: Request,
    run_dir: Path | None,
    callbacks: list[Callback],
    launch: Launch | None,
) -> Trainer:
    """Makes the Trainer of a run.

    Args:
        settings: its flags.
        request: what was asked for, for those who read its logs.
        run_dir: where it logs to; null for a Trainer that logs nothing.
        callbacks: callbacks that come behind those that the flags name.
        launch: what a launcher started; None without one.

    Raises:
        UserError: if Lightning refuses a flag.
    """
    if not torch.cuda.is_available():
        # Optimisers ask at every step whether there is a GPU, and a CUDA build without a driver searches for
        # one each time (0.1 ms); this answers at once.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    if run_dir is None:
        settings["logger"] = False
    else:
        settings["default_root_dir"] = str(run_dir)
        settings["logger"] = run_loggers(settings.get("logger"), request.plain, run_dir, _can_draw_graph(settings))
    named = as_list(settings.get("callbacks"))
    # Lightning takes one bar, and none where it is to show none: one that was named stands in for ours.
    if settings.get("enable_progress_bar") is False:
        named = [each for each in named if not isinstance(each, ProgressBar)]
    elif settings.get("enable_progress_bar") is None and not any(isinstance(each, ProgressBar) for each in named):
        settings["enable_progress_bar"] = sys.stderr.isatty()
        callbacks = [*callbacks, EpochBar() if sys.stderr.isatty() else EpochLines()]
    if launch is not None:
        settings["devices"], settings["num_nodes"] = launch.local_size, launch.nodes
    # Named, because Lightning would otherwise look for launchers itself and start MPI to do so.
    environment = LightningEnvironment() if launch is None else LaunchedEnvironment(launch)
    settings["plugins"] = [*as_list(settings.get("plugins")), environment]
    settings["callbacks"] = [*named, Place(settings.get("threads")), *callbacks]
    try:
        return Trainer(**settings)
    except REFUSALS as error:
        raise UserError(trainer_refusal(error, settings, request.place)) from error


def _can_draw_graph(settings: dict[str, Any]) -> bool:
    """Checks whether drawing works, on fp32 images in one process: ZeRO needs them all, `bf16-true` other images."""
    draws = (None, 32, "32", "32-true", "16-mixed", "bf16-mixed")
    return settings["precision"] in draws and not is_deepspeed(settings["strategy"])
