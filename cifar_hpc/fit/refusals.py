"""Tells which class of a configuration refuses its arguments or its work, and where it was named."""

import re
import traceback
from collections.abc import Callable, Iterator
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer as LightningTrainer

from cifar_hpc.collection.messages import one_sentence
from cifar_hpc.errors import one_line
from cifar_hpc.fit.trainer import Trainer

REFUSALS = (MisconfigurationException, TypeError, ValueError, RuntimeError, ModuleNotFoundError)
"""What the Trainer raises where it refuses its flags."""


def refusal(error: Exception, config: dict[str, Any], place: Callable[[str], str]) -> str:
    """Writes in one sentence which class refuses to be made, and why.

    Args:
        error: raised while the configuration's classes were made.
        config: the whole configuration.
        place: names what set a key, the command line or a file.
    """
    cause = _first_cause(error)
    tried = (re.findall(r"class_path[ =]'([^']+)'", str(error)) or [""])[-1]
    named = [(key, path) for key, path in _class_paths(config) if path == tried]
    key, path = refused_by(cause, config) or (*named, ("the configuration", ""))[0]
    name, told = path.rpartition(".")[2], _told(cause)
    if told.startswith("Expected a"):  # the last of several types that a value might have been of
        told = _last_try(error) or told
    return f"{place(key)}: {key}: {_lacks(told, name) or (f'{name} refuses: {told}' if name else told)}"


def trainer_refusal(error: Exception, flags: dict[str, Any], place: Callable[[str], str]) -> str:
    """Writes in one sentence which flags the Trainer refuses, and why: those of which it would do without any one.

    Args:
        error: raised by the Trainer.
        flags: those that it was given.
        place: names what set a key, the command line or a file.
    """
    known = signature(LightningTrainer).parameters | signature(Trainer).parameters
    usual = {name: known[name].default for name, value in flags.items() if value != known[name].default}
    refused = [name for name, value in usual.items() if _would_do(flags | {name: value})]
    told = one_sentence(str(error))
    if not refused:
        return f"The Trainer cannot be set up: {told}"
    keys = [f"trainer.{name}" for name in refused]
    places = dict.fromkeys(map(place, keys))
    value = flags[refused[0]]
    told = _lacks(told, value if isinstance(value, str) else type(value).__name__) or f"Lightning refuses: {told}"
    return f"{' and '.join(places)}: {' with '.join(keys)}: {told}"


def _would_do(flags: dict[str, Any]) -> bool:
    """Checks whether the Trainer takes some flags."""
    try:
        Trainer(**flags)
    except REFUSALS:
        return False
    return True


def _lacks(told: str, name: str) -> str:
    """Writes which package something needs; empty where the error tells of none."""
    found = re.search(r"Requirement '([\w.-]+)[^']*' not met", told)
    return f"{name} needs the package {found[1]}; install it with `pip install {found[1]}`" if found else ""


def refused_by(error: BaseException, config: dict[str, Any]) -> tuple[str, str] | None:
    """Finds the class that raised an error by itself, behind all of this package's own code.

    Args:
        error: raised while a run was at work.
        config: the whole configuration.

    Returns:
        The key that names the class, and the class's import path; null where it was none of the configuration's.
    """
    named = [(key, path, kind) for key, path in _class_paths(config) if (kind := _resolved(path)) is not None]
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module == "cifar_hpc":
            return None
        if module == "lightning":  # an optimiser of torch's has called it, for a step
            named = [each for each in named if not each[1].startswith("torch.")]
        for key, path, kind in named:
            if isinstance(frame.f_locals.get("self"), kind):
                return key, path
    return None


def what_refuses(error: Exception, config: dict[str, Any], place: Callable[[str], str]) -> str:
    """Writes in one sentence which of a run's classes refuses its work; empty where none does."""
    found = refused_by(error, config)
    if found is None:
        return ""
    key, path = found
    return f"{place(key)}: {key}: {path.rpartition('.')[2]} refuses: {_told(error)}"


def _last_try(error: Exception) -> str:
    """Picks from the error of a value that may be of several types what the last of them that is a class says."""
    lines = [line.strip().removeprefix("- ") for line in str(error).partition("Given value")[0].splitlines()]
    general = ("Expected a", "Not a valid subclass", "Problem with given", "Does not validate", "Subtypes:", "Errors:")
    telling = [line for line in lines if line and not line.startswith(general)]
    return telling[-1] if "Errors:" in str(error) and telling else ""


def _told(error: BaseException) -> str:
    """Writes what an error says, behind its kind where that says more."""
    speaking = isinstance(error, ValueError | TypeError | RuntimeError | MisconfigurationException)
    return one_line(error) if speaking else f"{type(error).__name__}: {one_line(error)}"


def _first_cause(error: BaseException) -> BaseException:
    """Finds what an error goes back to; jsonargparse wraps what a class raises, once for each level."""
    while error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        error = error.__cause__ or error.__context__ or error
    return error


def _class_paths(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yields each key of a configuration that names a class, with its import path."""
    if isinstance(content, dict):
        if isinstance(content.get("class_path"), str):
            yield key, content["class_path"]
        for name, inner in content.items():
            yield from _class_paths(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for inner in content:
            yield from _class_paths(inner, key)


def _resolved(path: str) -> type | None:
    """Finds the class of an import path; null where it is none, or this package's own."""
    try:
        found = resolve_name(path)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) and not found.__module__.startswith("cifar_hpc") else None
