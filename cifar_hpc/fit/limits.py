"""Values that the types of a configuration allow, and with which no run could be what it was asked to be."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cifar_hpc.errors import UserError, shortened
from cifar_hpc.records.record import takes_all

MANY = 64
"""Threads, or worker processes, that any machine may be asked for; more only where it has a quarter as many cores."""

_SHARES = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")
_FINDERS = r"\b(LearningRateFinder|BatchSizeFinder)\b"
_WHOLE = "a whole number of at least 1"
_SHARE = "a share of the batches up to 1.0, or a number of them of at least 2"


def check_groups(path: Path, content: Mapping[str, Any]) -> None:
    """Refuses groups of a configuration file that are none, over which the parser would stumble.

    Raises:
        UserError: naming the file and the key.
    """
    for key in ("reproduction", "trainer", "model", "data"):
        value = content.get(key, {})
        if not isinstance(value, dict | str):  # a text is the name of a file that holds the group
            told = shortened(json.dumps(value, default=str), 60)
            raise UserError(f"{path}: {key} is {told}; it must be a mapping of keys")


def check_limits(command: str, config: Mapping[str, Any], cores: int, place: Callable[[str], str]) -> None:
    """Refuses numbers that no run can have.

    Lightning takes `max_epochs: 0` for "train nothing", `-1` for "never end" and a share of no batches for "skip
    this", each without a word; a record of such a run would be empty, or never be complete.

    `threads` may exceed the cores: a row that says 4, as its report did, must run on two cores, and how more
    threads than cores slow a run down is worth measuring. Up to 64 threads are taken anywhere, and up to four for
    each core on machines with more than 16; beyond, a number is a slip of the finger that would only choke the
    machine. `data.num_workers` has the same limit, as each of them is a process with a copy of the package.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        config: the whole configuration.
        cores: number of cores that this process may use.
        place: names what set a key, the command line or a file.

    Raises:
        UserError: one sentence that names the place, the key and what would be right.
    """
    for key, allowed, right in _limits(command, config["trainer"], config["data"], cores):
        if not allowed:
            group, _, name = key.partition(".")
            value = "null" if config[group][name] is None else shortened(str(config[group][name]), 100)
            raise UserError(f"{place(key)}: {key} is {value}; it must be {right}")


def is_smoke(config: Mapping[str, Any]) -> bool:
    """Checks whether a run sees a part of the dataset alone: it shows that something works, and is no evidence."""
    trainer = config["trainer"]
    cut = not all(takes_all(trainer[key]) for key in _SHARES)
    return bool(cut or config["data"]["sample"] or trainer["fast_dev_run"] or trainer["overfit_batches"])


def _limits(command: str, trainer: Any, data: Any, cores: int) -> list[tuple[str, bool, str]]:
    """Lists each key with whether its value is allowed and what would be right."""
    epochs, clip, time = trainer["max_epochs"], trainer["gradient_clip_val"], trainer["max_time"]
    duration = "days, hours, minutes and seconds, such as 00:01:30:00, of more than nothing"
    most = max(MANY, 4 * cores)
    few = f"at most {most} on this machine, which has {cores} core{'s' * (cores > 1)} for them"
    # Only training goes without evaluation; a command that evaluates would do nothing.
    without = {"limit_val_batches"} if command == "fit" else set()
    return [
        ("trainer.max_epochs", epochs >= 1 if epochs is not None else command != "fit", _WHOLE),
        ("trainer.max_steps", trainer["max_steps"] == -1 or trainer["max_steps"] >= 1, f"{_WHOLE}, or -1 for no limit"),
        *(
            (f"trainer.{key}", trainer[key] is None or trainer[key] >= 1, _WHOLE)
            for key in ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes")
        ),
        (
            "trainer.min_epochs",
            0 <= (trainer["min_epochs"] or 0) <= (epochs or math.inf),
            f"a whole number of 0 to max_epochs, which is {epochs}",
        ),
        ("trainer.gradient_clip_val", clip is None or clip >= 0, "a number of at least 0"),  # it would turn them round
        ("trainer.max_time", time is None or re.search("[1-9]", str(time)) is not None, duration),
        (
            "trainer.devices",
            _are_devices(trainer["devices"], trainer["accelerator"]),
            "a number of devices of at least 1, or auto",
        ),
        *(
            (
                f"trainer.{key}",
                _is_share(trainer[key]) or (trainer[key] == 0 and key in without),
                "0 for none, " * (key in without) + _SHARE,
            )
            for key in _SHARES
        ),
        ("trainer.val_check_interval", trainer["val_check_interval"] != 0, _SHARE),
        (
            "trainer.strategy",  # text that looks like a mapping is one that no class takes
            not (isinstance(trainer["strategy"], str) and trainer["strategy"].lstrip().startswith("{")),
            "a name such as ddp, or a mapping of class_path and of init_args that the class takes",
        ),
        (
            "trainer.callbacks",
            not re.search(_FINDERS, json.dumps(trainer["callbacks"], default=str)),
            "without LearningRateFinder and BatchSizeFinder, whose choice no record tells; set the rate or size itself",
        ),
        ("trainer.threads", (trainer["threads"] or 0) <= most, few),
        ("data.num_workers", data["num_workers"] <= most, few),
    ]


def _is_share(value: float | None) -> bool:
    """Checks whether a number of batches, or a share of them, is left; null stands for all.

    The parser makes floats of both: up to 1.0 it is a share, so that 1 is all batches and not one of them.
    """
    return value is None or 0 < value <= 1 or (value > 1 and value == int(value))


def _are_devices(value: Any, accelerator: str) -> bool:
    """Checks whether a value is a number of devices, or on GPUs all of them or a list of their numbers."""
    text = str(value).strip("[]").replace(" ", "")
    if accelerator == "cpu":
        return text == "auto" or (text.isdecimal() and int(text) > 0)
    return text in ("auto", "-1") or (text != "0" and all(part.isdecimal() for part in text.split(",")))
