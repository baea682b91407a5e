"""Turns the parser's long messages into one sentence that names the file, the key and what would be right."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from cifar_hpc.collection.bounded_yaml import guarded, read_bounded
from cifar_hpc.errors import did_you_mean, shortened

_HELP = "`--help=all` lists the known ones"

# Where the type allows more than works: Lightning's also has names that need another library or a GPU of its maker.
_RIGHT = {
    "trainer.precision": (
        "one of auto, 32-true, 64-true, bf16-mixed, bf16-true, 16-mixed and 16-true (the overlay fast takes auto: "
        "bf16-mixed where the machine computes it, else 32-true)"
    ),
}

# What jsonargparse says of a type, and what a user calls it.
_TYPES = (
    (r"Not of type PositiveInt|<class 'jsonargparse.typing.PositiveInt'>", "a whole number of at least 1"),
    (r"Not of type NonNegativeInt", "a whole number of at least 0"),
    (r"Expected a <class 'int'>", "a whole number"),
    (r"Expected a <class 'float'>", "a number"),
    (r"Expected a <class 'bool'>", "true or false"),
    (r"Expected a <class 'str'>", "a text"),
    (r"Expected a tuple with (\d+) elements", r"a list of \1 numbers"),
    (r"Expected a (?:list|List)\b|Expected a <class 'list'>", "a list"),
    (r"Expected a dot import path string", "a mapping of class_path and init_args, or the import path of a class"),
    (r"Expected a typing\.Literal\[([^\]]*)\]", r"one of \1"),
)

COMMAND_LINE = "The command line"
"""Names, where a sentence begins, what set a key that no file sets."""


def one_sentence(message: str) -> str:
    """Puts a message on one line, with single spaces."""
    return " ".join(message.split())


_ELSEWHERE = {
    "optimizer": "model.init_args.optimizer",
    "lr": "model.init_args.optimizer.init_args.lr",
    "learning_rate": "model.init_args.optimizer.init_args.lr",
    "momentum": "model.init_args.optimizer.init_args.momentum",
    "weight_decay": "model.init_args.optimizer.init_args.weight_decay",
    "scheduler": "model.init_args.scheduler",
    "dropout": "model.init_args.dropout",
    "epochs": "trainer.max_epochs",
    "workers": "trainer.threads",
    "num_workers": "trainer.threads",
    "gpus": "trainer.devices",
    "batch": "data.batch_size",
    "seed": "seed_everything",
    "dir": "run_dir",
    "output_dir": "run_dir",
    "log_dir": "run_dir",
}
"""What other programs call a key, and where it is here."""


def _near(key: str, known: Collection[str]) -> str:
    """Guesses what was meant by a key that nobody has."""
    name = key.lstrip("-").partition("=")[0].replace("-", "_")
    last = name.rpartition(".")[2]
    if name == "ckpt_path" and "ckpt_path" not in known:
        return "--resume goes on from the newest checkpoint of --run_dir"
    if name in _ELSEWHERE:
        return f"did you mean --{_ELSEWHERE[name]}?"
    ends = [other for other in known if other.rpartition(".")[2] == last]
    return (
        f"did you mean --{min(ends, key=len)}?" if ends else did_you_mean(f"--{name}", [f"--{each}" for each in known])
    )


def explain_parser_error(message: str, files: list[Path], arguments: list[str], known: Collection[str] = ()) -> str:
    """Makes one sentence of a jsonargparse message.

    Args:
        message: the parser's message, of many lines.
        files: the configuration files of the command line, in order.
        arguments: the command line.
        known: the keys that there are.
    """
    text = one_sentence(message.partition("Given value type:")[0])
    if found := re.search(r"unrecognized arguments?: (.*)", text):
        first = found[1].split()[0]
        help_ = _near(first, known) or _HELP if first.startswith("-") else "a row is named with -c before it"
        return f"The argument {found[1]} is not known; {help_}"
    if "arguments are required: model" in text:
        return "There is no model to train; name a row, `-c ROW`, before any overlay"
    if text.startswith("argument -"):
        return f"{COMMAND_LINE}: {text.removeprefix('argument ')}"
    if found := re.search('Linked "([^"]+)" must be given via "([^"]+)"', text):
        return f"{place_of(found[1], files, arguments)}: {found[1]} follows from {found[2]}; set that instead"
    key = _key(text)
    if key == "data.seed":  # which nobody can set
        key = "seed_everything"
    if found := re.search(r"Group '([^']+)' does not accept option '([^']+)'", text):
        return _unknown(f"{found[1]}.{found[2]}", files, arguments, known)
    if found := re.search(r"Option '([^']+)' is not accepted", text):
        inside = key + (".init_args." if "class_path" in text else ".") if key else ""
        return _unknown(inside + found[1], files, arguments, known)
    place, value = place_of(key, files, arguments), _value(message)
    if found := re.search(r"Importing '([^']+)' is not allowed", text):
        place = place_of(f"{key}.class_path", files, arguments)
        return (
            f"{place}: {key} names {found[1]}, which a configuration may not import; "
            "it may name what is in cifar_hpc, torch.optim, torch.nn, lightning.pytorch or torchmetrics"
        )
    if found := re.search(r"module '([^']+)' has no attribute '([^']+)'", text):
        place = place_of(f"{key}.class_path", files, arguments)
        return f"{place}: {key} names {found[1]}.{found[2]}, but {found[1]} has no {found[2]}"
    if found := re.search(r"class_path '([^']+)': the following arguments are required: ([\w, ]+)", text):
        needed = ", ".join(f"init_args.{name}" for name in re.findall(r"\w+", found[2].partition(" - ")[0]))
        return f"{place}: {key} names {found[1]}, which needs {needed} beside it"
    if key in _RIGHT:
        return f"{place}: {key} is {value}; it must be {_RIGHT[key]}"
    if found := re.search("Unable to load config ['\"]([^'\"]+)['\"]", text):
        key = _key(text[: found.start()])
        return f"{place_of(key, files, arguments)}: {key} is {found[1]}; it must be a mapping or a file that holds one"
    expected = [re.sub(pattern, right, found[0]) for pattern, right in _TYPES if (found := re.search(pattern, text))]
    if key and expected:
        return f"{place}: {key} is {value}; it must be {' or '.join(dict.fromkeys(expected))}"
    return f"{place}: {text}"


def _unknown(key: str, files: list[Path], arguments: list[str], known: Collection[str]) -> str:
    near = _near(key, known).replace("--", "")
    return f"{place_of(key, files, arguments)}: {key} is not a known key; {near or _HELP}"


def _key(text: str) -> str:
    """Finds the dotted key that a message is about; the message names each level apart."""
    levels = re.findall(r'Parser key "([^"]+)"', text)
    if levels and levels[0].startswith("reproduction"):
        return ".".join(levels)
    return ".init_args.".join(levels)


def _value(message: str) -> str:
    found = re.findall(r"(?:Given value|Got value): (.*)", message)
    if not found:
        found = re.findall(r"Not of type \w+: (\S+) does not conform", message)
    value = found[0].strip() if found else "wrong"
    value = re.sub(r"^NestedArg\(key='[^']*', val='?(.*?)'?\)$", r"\1", value)
    return shortened(value.partition(". Got value:")[0], 200)


def place_of(key: str, files: list[Path], arguments: list[str]) -> str:
    """Finds what sets the key: a flag, or the last of the files that go deepest towards it."""
    parts = key.split(".")
    flags = [f"--{'.'.join(parts[:depth])}" for depth in range(1, len(parts) + 1)]
    if any(argument.partition("=")[0] in flags for argument in arguments):
        return COMMAND_LINE
    deepest, place = 0, str(files[-1]) if files else COMMAND_LINE
    for path in files:
        try:
            content: Any = guarded(yaml.safe_load)(read_bounded(path))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        depth = 0
        for part in parts:
            if not isinstance(content, dict) or part not in content:
                break
            content = content[part]
            depth += 1
        if depth and depth >= deepest:
            deepest, place = depth, str(path)
    return place
