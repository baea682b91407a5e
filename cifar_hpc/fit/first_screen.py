"""What `fit --help` and a bare call show first. Nothing here imports torch: help is to come at once."""

import textwrap
from pathlib import Path

from cifar_hpc.collection.folder import chosen, overlays
from cifar_hpc.errors import UserError
from cifar_hpc.output import terminal_width

PARTS = ("trainer", "model", "data", "reproduction", "all")
"""Parts of the long help, behind `--help=`."""

COMMANDS = {
    "fit": "train a row or recipe, measure it on the full test set, and leave a record",
    "validate": "evaluate a run's checkpoint on the sets that are looked at after each epoch",
    "test": "evaluate a run's checkpoint on the full test set",
    "predict": "write class and confidence of each test image",
}
"""The commands that LightningCLI parses by itself, each with its line in the help; `fit/training.py` serves them."""

_EXAMPLES = {
    "fit": ("-c ROW -c fast", "-c ROW -c cpu --seed_everything 2", "-c ROW --trainer.max_epochs 1 --data.sample true"),
    "validate": ("-c ROW",),
    "test": ("-c ROW", "-c ROW --run_dir runs/ROW/seed2"),
    "predict": ("-c ROW --output answers.npz",),
}
_RUN = ("--run_dir DIR", "the run's directory (default: runs/ROW/seed<k>)")
_CHECKPOINT = ("--ckpt_path FILE", "a checkpoint (default: the newest sound one of the run)")
_OURS = {
    "fit": (
        ("--resume", "go on with the unfinished run of the same row and seed, or in --run_dir"),
        ("--seed_everything N", "another seed (default: the row's)"),
        ("--trainer.max_epochs N", "epochs"),
        ("--trainer.threads N", "threads of each process"),
        ("--trainer.precision P", "auto, 32-true, bf16-mixed, 16-mixed, …"),
        ("--trainer.devices N", "processes or GPUs, with --trainer.strategy ddp or deepspeed_stage_1, 2, 3"),
        ("--trainer.kernels K", "ours, or stock for torch's and Lightning's own ways"),
        ("--data.sample true", "the small real sample that ships with the package"),
        ("--print_config", "show what a run would use, and stop"),
    ),
    "validate": (_CHECKPOINT,),
    "test": (_CHECKPOINT,),
    "predict": (_CHECKPOINT, ("--output FILE", "where the predictions go (default: predictions.npz)")),
}


def help_asked(arguments: list[str]) -> str | None:
    """Finds which help a command line asks for: empty for the first screen, a group, or null for none.

    Raises:
        UserError: if there is no such group.
    """
    for argument in arguments:
        flag, _, group = argument.partition("=")
        if flag in ("--help", "-h"):
            if group and group not in PARTS:
                raise UserError(f"--help={group}: there is no such part; the parts are {', '.join(PARTS)}")
            return group
    return None


def flags(command: str) -> list[tuple[tuple[str, ...], str]]:
    """Lists the flags that the first screen names, each with what its value is called; empty where it takes none."""
    found: list[tuple[tuple[str, ...], str]] = [(("-c", "--config"), "ROW|OVERLAY"), (("-h", "--help"), "")]
    for text, _ in (*_OURS[command], _RUN):
        flag, _, value = text.partition(" ")
        found.append(((flag,), value))
    return found


def what_it_does(command: str) -> str:
    """Writes what a command does as a sentence."""
    return f"{COMMANDS[command].capitalize()}."


def first_screen(command: str) -> str:
    """Writes the help of a command in one screen.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
    """
    names = ", ".join(sorted(name for name, path in overlays().items() if path.parent.name == "configs"))
    options = [
        ("-c ROW", "a row by its name (`rows` lists them), or a configuration file"),
        ("-c OVERLAY", f"where and how fast it runs, not what: {names}"),
        *_OURS[command],
        _RUN,
        ("--collection DIR", "another folder of reports"),
        ("--KEY VALUE", "any key of the row's file, as --model.init_args.optimizer.init_args.lr 0.01"),
        ("--help=PART", f"every key of {', '.join(PARTS[:-1])}, or all: Lightning's flags are under trainer"),
    ]
    lines = [f"usage: python -m cifar_hpc {command} -c ROW [-c OVERLAY] [--KEY VALUE]", "", what_it_does(command), ""]
    lines += _columns(options)
    lines += ["", "for example:", *(f"  python -m cifar_hpc {command} {example}" for example in _EXAMPLES[command])]
    return "\n".join(lines)


def part_of_help(text: str, part: str) -> str:
    """Picks the lines of Lightning's long help that are about one group of keys.

    Args:
        text: the whole help.
        part: one of `PARTS`.
    """
    if part == "all":
        return text
    sections, found = text.split("\n\n"), []
    inside = False
    for section in sections[1:]:  # behind the usage, which names every flag once more
        if f"\n  --{part}" in f"\n{section}":
            inside = True
        elif not section.startswith(" "):
            inside = False
        if inside:
            found.append(section)
    return "\n\n".join(found)


def greeting() -> str:
    """Says what to do first, and what is here already."""
    runs = len([*Path("runs").glob("*/*/result.json"), *Path("runs").glob("*/smoke/*/result.json")])
    collection = chosen()
    kept = sum(len(list(folder.glob("*/*/result.json"))) for folder in collection.record_folders(committed_only=True))
    state = (
        f"{len(collection.rows)} rows in {collection.folder}, {kept} kept records of them, {runs} of your own in runs/"
    )
    commands = [
        ("rows", "what the reports print, and the evidence so far"),
        ("fit -c ROW -c smoke", "see that training works, in seconds"),
        ("fit -c ROW -c fast", "train a row"),
        ("verify ROW", "reported, measured, verdict"),
        ("audit", "check the reports' tables without training"),
        ("report", "one page over everything"),
    ]
    told = "Re-runs published reports on training CNNs on CIFAR, and says whether their numbers hold."
    head = [
        *textwrap.wrap(told, _width()),
        "",
        *textwrap.wrap(f"Here: {state}.", _width()),
        "",
        "python -m cifar_hpc …",
    ]
    return "\n".join([*head, *_columns(commands), "", "`python -m cifar_hpc --help` lists all commands."])


def _width() -> int:
    return min(100, terminal_width() or 80)


def _columns(options: list[tuple[str, str]]) -> list[str]:
    """Lays out names to the left, what they do to the right, wrapped to the terminal."""
    left = min(34, max(len(name) for name, _ in options) + 4)
    lines = []
    for name, text in options:
        wrapped = textwrap.wrap(text, max(20, _width() - left)) or [""]
        first = f"  {name}".ljust(left)
        lines += [first + wrapped[0]] if len(first) <= left else [first, " " * left + wrapped[0]]
        lines += [" " * left + rest for rest in wrapped[1:]]
    return lines
