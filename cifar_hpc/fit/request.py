"""What a command line asks for, as a parsed and checked configuration."""

import argparse
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace, get_loader, set_loader, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from cifar_hpc.collection.bounded_yaml import BoundsError, bounded, guarded
from cifar_hpc.collection.experiment import as_argument, differences, experiment
from cifar_hpc.collection.folder import chosen, configuration_file
from cifar_hpc.collection.messages import COMMAND_LINE, explain_parser_error, place_of
from cifar_hpc.collection.source import read_yaml, refuse_repeated_keys
from cifar_hpc.errors import UserError, check_deepspeed, is_deepspeed, one_line
from cifar_hpc.fit.limits import check_groups, check_limits
from cifar_hpc.fit.refusals import refusal
from cifar_hpc.fit.trainer import runs_on_cpu
from cifar_hpc.hpc.launch import Launch, check_trainer
from cifar_hpc.machine import Precision, choose_precision, usable_cores
from cifar_hpc.speed.kernels import needs_stock

# A configuration file may name these and nothing else to be imported.
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=["cifar_hpc", "torch.optim", "torch.nn", "lightning.pytorch", "torchmetrics"],
)

_load_yaml = get_loader("yaml")


def _load_unique_keys(text: str) -> Any:
    """Loads YAML for the parser, also from files that a key names, and refuses a key that stands in it twice."""
    refuse_repeated_keys(text)
    return _load_yaml(text)


set_loader("yaml", guarded(_load_unique_keys), (yaml.YAMLError,))

_RUN_KEYS = ("run_dir", "resume", "ckpt_path", "output", "config", "collection")
"""Arguments that belong to one run, not to what it does; they stay out of its config.yaml."""

_TOLD, _LONG = 6, 60
"""Changes of the experiment that are told one by one, and characters of each value."""


@dataclass(frozen=True)
class Request:
    """A command line, parsed.

    Attributes:
        config: everything, as the parser has it.
        plain: the same as plain data, without what belongs to one run.
        base: plain data of the row or recipe alone, with which a run is compared; null where there is none.
        files: configuration files, in order.
        arguments: the command line.
        precision: the precision, and why it is the one.
        why_stock: why the run cannot take our kernels; empty where it can.
    """

    config: Namespace
    plain: dict[str, Any]
    base: dict[str, Any] | None
    files: list[Path]
    arguments: list[str]
    precision: Precision
    why_stock: str

    def place(self, key: str) -> str:
        """Finds what sets a key: the command line, or a file."""
        return place_of(key, self.files, self.arguments)

    def changed(self) -> dict[str, list[Any]]:
        """Finds experiment settings that differ from the row's or recipe's own, as [its value, the run's value]."""
        return {} if self.base is None else differences(experiment(self.base), experiment(self.plain))

    def told_changes(self) -> str:
        """Tells in one line what is changed, and by what; empty where nothing is."""
        changed = list(self.changed().items())
        places = [COMMAND_LINE.lower() if (place := self.place(key)) == COMMAND_LINE else place for key, _ in changed]
        told = [
            f"{key} {_brief(new)} instead of {_brief(old)} ({place})"
            for place, (key, (old, new)) in zip(places, changed, strict=True)
        ]
        more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
        return ", ".join(told[:_TOLD] + more)


def read_request(parser: LightningArgumentParser, command: str, arguments: list[str], launch: Launch | None) -> Request:
    """Parses and checks a command line.

    Args:
        parser: parser of the command.
        command: `fit`, `validate`, `test` or `predict`.
        arguments: what follows it.
        launch: what a launcher started; None without one.

    Raises:
        UserError: one sentence that names the file and key.
    """
    for argument in arguments:
        try:
            bounded(argument)
        except BoundsError as error:
            raise UserError(f"{COMMAND_LINE}: {argument[:60]}… is no value of a key: {error}") from error
    files, only_files = _config_files(arguments)
    contents = {path: read_yaml(path) for path in files}  # says what is wrong with a file better than the parser does
    for path, content in contents.items():
        check_groups(path, content)
        _check_dots(path, content)
        _check_seed(content.get("seed_everything", 0), str(path))
        if _named(content, "row") and not chosen().read(path).trains:
            raise UserError(f"{path} is for `audit` alone: it has no trainer, model and data to train")
    config = _parse(parser, arguments, files)
    _check_seed(config["seed_everything"], COMMAND_LINE)
    precision = choose_precision(str(config["trainer"]["precision"]), runs_on_cpu(config["trainer"]))
    if config["trainer"]["precision"] == "auto":
        # The run's config.yaml names what was taken, so that it means the same on another machine.
        config["trainer"]["precision"] = precision.name
    plain = _plain(parser, config)
    if why_stock := needs_stock(plain):
        config["trainer"]["kernels"] = plain["trainer"]["kernels"] = "stock"
    row = plain["reproduction"]["row"]
    base_files = _base_files(contents, row)
    if only_files and [f.resolve() for f in base_files] == [f.resolve() for f in files]:
        base: dict[str, Any] | None = plain
    else:
        base = parse_files(parser, base_files, required=row is not None)
    request = Request(config, plain, base, files, arguments, precision, why_stock)
    check_limits(command, plain, usable_cores(), request.place)
    _check_hardware(plain, contents)
    check_trainer(plain["trainer"], launch, usable_cores(), torch.cuda.device_count(), request.place)
    return request


def with_files(arguments: list[str]) -> list[str]:
    """Puts files in the place of the names that a command line gives behind -c.

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


def _config_files(arguments: list[str]) -> tuple[list[Path], bool]:
    """Finds the configuration files that a command line names, in order, and whether it sets nothing else of a run."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("-c", "--config", action="append", default=[], type=Path)
    for key in ("run_dir", "resume", "ckpt_path", "output"):
        finder.add_argument(f"--{key}", nargs="?")
    try:
        found, rest = finder.parse_known_args(arguments)
    except SystemExit:
        raise UserError("-c needs the name of a configuration file behind it") from None
    return found.config, not rest


def _base_files(contents: dict[Path, dict[str, Any]], row: str | None) -> list[Path]:
    """Picks the files that make the row or recipe by themselves; those behind them, and flags, change it."""
    if row is not None:
        return [chosen().row(row).path]
    files = list(contents)
    named = [number for number, path in enumerate(files) if _named(contents[path], "recipe")]
    return files[: named[-1] + 1 if named else 1]


def _named(content: dict[str, Any], key: str) -> bool:
    """Checks whether a file's group `reproduction` names a row or recipe."""
    group = content.get("reproduction")
    return isinstance(group, dict) and bool(group.get(key))


def parse_files(parser: LightningArgumentParser, files: list[Path], required: bool = False) -> dict[str, Any] | None:
    """Parses files alone, with defaults filled in.

    Args:
        parser: parser of a command.
        files: files that make a configuration.
        required: whether they must be a whole one; else null is returned where they are none.

    Raises:
        UserError: if they must and are not.
    """
    arguments = [part for path in files for part in ("-c", str(path))]
    try:
        return _plain(parser, _parse(parser, arguments, files))
    except UserError:
        if required:
            raise
        return None


def _parse(parser: LightningArgumentParser, arguments: list[str], files: list[Path]) -> Namespace:
    try:
        config: Namespace = _without_enumerations(parser.parse_args(arguments))
        return config
    except ArgumentError as error:
        known = {action.dest for action in getattr(parser, "_actions", ())}
        raise UserError(explain_parser_error(str(error), files, arguments, known)) from error
    except UserError:
        raise
    except Exception as error:  # what is of no type that it foresees, the parser stumbles over
        where = " or ".join(map(str, files)) or COMMAND_LINE
        raise UserError(f"{where}: the configuration is not understood ({one_line(error)})") from error


def _without_enumerations(value: Any) -> Any:
    """Replaces members of enumerations that are texts, such as a Timer's default, which YAML could not write."""
    if isinstance(value, Namespace):
        for key, inner in value.items():
            value[key] = _without_enumerations(inner)
    elif isinstance(value, dict):
        return {key: _without_enumerations(inner) for key, inner in value.items()}
    elif isinstance(value, list):
        return [_without_enumerations(inner) for inner in value]
    return value.value if isinstance(value, Enum) and isinstance(value, str) else value


def instantiate(parser: LightningArgumentParser, request: Request) -> Namespace:
    """Makes what the configuration names.

    Raises:
        UserError: if a class refuses its arguments or lacks a package; names the file, the key and the class.
    """
    try:
        made: Namespace = parser.instantiate(request.config)
        return made
    except UserError:
        raise
    except Exception as error:  # classes refuse in their own ways
        raise UserError(refusal(error, request.plain, request.place)) from error


def _check_dots(path: Path, content: Any) -> None:
    """Refuses a key `trainer.max_epochs`, which the parser takes for the nested one: of both the later would win."""
    if isinstance(content, dict):
        for key, inner in content.items():
            if "." in str(key):
                raise UserError(f"{path}: the key {key} has dots; write its parts as nested mappings")
            _check_dots(path, inner)


def _check_seed(seed: Any, place: str) -> None:
    """Refuses what is no seed: Lightning would take `true` for 0, and draw a seed of its own in other cases."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(
            f"{place}: seed_everything is {seed}; it must be a whole number of at least 0 and below 2**32, from which "
            "the order of the images follows"
        )


def _plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """Turns a parsed configuration into plain data, without what belongs to one run."""
    # Parsing has just checked it, and JSON is quick to read: together a third of the time.
    dumped: dict[str, Any] = json.loads(parser.dump(config, skip_unset=False, skip_validation=True, format="json"))
    return {key: value for key, value in dumped.items() if key not in _RUN_KEYS}


def _check_hardware(config: dict[str, Any], contents: dict[Path, dict[str, Any]]) -> None:
    """Stops a run whose accelerator or engine is not there before anything is made."""
    accelerator = config["trainer"]["accelerator"]
    if is_deepspeed(config["trainer"]["strategy"]):
        if "PL_DEEPSPEED_CONFIG_PATH" in os.environ:
            raise UserError(
                "The environment sets PL_DEEPSPEED_CONFIG_PATH, whose settings no record tells; unset it, and give "
                "trainer.strategy a mapping with init_args.config"
            )
        check_deepspeed(f"trainer.strategy: {_brief(config['trainer']['strategy'])}")
    if accelerator not in ("gpu", "cuda") or torch.cuda.is_available():
        return
    if accelerator == "gpu" and torch.backends.mps.is_available():
        return
    asking = [f for f, content in contents.items() if content.get("trainer", {}).get("accelerator") == accelerator]
    file = asking[-1] if asking else COMMAND_LINE
    raise UserError(
        f"{file} asks for trainer.accelerator: {accelerator}, and this machine has no usable GPU; add "
        "`-c cpu` to run it on the CPU"
    )


def _brief(value: Any) -> str:
    """Writes a setting in few words."""
    text = as_argument(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
