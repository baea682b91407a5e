"""Values that the types of a configuration allow, and with which no run could be what it was asked to be."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from cifar_hpc.errors import UserError

MANY = 64
"""Threads, or worker processes, that any machine may be asked for; more only where it has a quarter as many cores."""

_AT_LEAST_ONE = ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes")
_SHARES = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")


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
        cores: that this process may use.
        place: names what set a key, the command line or a file.

    Raises:
        UserError: one sentence that names the place, the key and what would be right.
    """
    trainer = config["trainer"]

    def refuse(group: str, key: str, right: str) -> None:
        value = "null" if config[group][key] is None else config[group][key]
        raise UserError(f"{place(f'{group}.{key}')}: {group}.{key} is {value}; it must be {right}")

    epochs = trainer["max_epochs"]
    if (epochs is None and command == "fit") or (epochs is not None and epochs < 1):
        refuse("trainer", "max_epochs", "a whole number of at least 1")
    if trainer["max_steps"] != -1 and trainer["max_steps"] < 1:
        refuse("trainer", "max_steps", "a whole number of at least 1, or -1 for no limit")
    for key in _AT_LEAST_ONE:
        if trainer[key] is not None and trainer[key] < 1:
            refuse("trainer", key, "a whole number of at least 1")
    if not 0 <= (trainer["min_epochs"] or 0) <= (epochs or math.inf):
        refuse("trainer", "min_epochs", f"a whole number of 0 to max_epochs, which is {epochs}")
    if (trainer["gradient_clip_val"] or 0) < 0:  # it would turn the gradients round
        refuse("trainer", "gradient_clip_val", "a number of at least 0")
    if trainer["max_time"] is not None and not re.search("[1-9]", str(trainer["max_time"])):
        refuse("trainer", "max_time", "days, hours, minutes and seconds, such as 00:01:30:00, of more than nothing")
    if not _are_devices(trainer["devices"], trainer["accelerator"]):
        refuse("trainer", "devices", "a number of devices of at least 1, or auto")
    for key in _SHARES:
        least = 0 if key == "limit_val_batches" else 1
        if not _is_share(trainer[key], least):
            none = "0 for none, " if least == 0 else ""
            refuse("trainer", key, f"{none}a share of the batches up to 1.0, or a number of them of at least 2")
    if trainer["val_check_interval"] == 0:
        refuse("trainer", "val_check_interval", "a share of the batches up to 1.0, or a number of them of at least 2")
    most = max(MANY, 4 * cores)
    for group, key in (("trainer", "threads"), ("data", "num_workers")):
        if (config[group][key] or 0) > most:
            refuse(group, key, f"at most {most} on this machine, which has {cores} core{'s' * (cores > 1)} for them")


def is_smoke(config: Mapping[str, Any]) -> bool:
    """Whether a run sees less than the whole dataset: it shows that something works, and is evidence of nothing."""
    trainer = config["trainer"]
    cut = any(trainer[key] not in (None, 1.0) for key in _SHARES)
    return bool(cut or config["data"]["sample"] or trainer["fast_dev_run"] or trainer["overfit_batches"])


def _is_share(value: float | None, least: int) -> bool:
    """Whether a number of batches, or a share of them, is left; null stands for all.

    The parser makes floats of both: up to 1.0 it is a share, so that 1 is all batches and not one of them.
    """
    return value is None or value == least == 0 or 0 < value <= 1 or (value > 1 and value == int(value))


def _are_devices(value: Any, accelerator: str) -> bool:
    """Whether it is a number of devices, or on GPUs all of them or a list of their numbers."""
    text = str(value).strip("[]").replace(" ", "")
    if accelerator == "cpu":
        return text == "auto" or (text.isdecimal() and int(text) > 0)
    return text in ("auto", "-1") or (text != "0" and all(part.isdecimal() for part in text.split(",")))
