"""What a run ran on: hardware, software, and the commit of this package."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cifar_hpc import __version__, machine

_MADE_OF_RECORDS = ("results", "docs", "README.md")
_OUTPUTS = (".json", ".log", ".txt", ".csv", ".md", ".html", ".xml", ".png", ".svg")
"""Kinds of files that commands write and no run loads: new ones, which git does not know, are no change."""
_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "jsonargparse", "numpy", "deepspeed")


@cache
def software() -> dict[str, Any]:
    """Looks up the versions of everything that could change a number, and the commit of this package."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | git_state(Path(__file__).parents[1])


def git_state(package: Path) -> dict[str, Any]:
    """Finds commit and cleanliness of the checkout that `package` lies in or its wheel was built from; else nulls.

    A package installed into a virtual environment inside somebody else's checkout is not of that checkout:
    git must track its files.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(package), *arguments],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return _built_from(package / "commit.txt")
    # Records that were kept, and pages made of them, change no number of the next run.
    others = [f":(top,exclude){place}" for place in _MADE_OF_RECORDS]
    status = git("status", "--porcelain", "-z", "--untracked-files=all", "--", ":/", *others)
    changed = [one for one in (status or "").split("\0") if one and not (one[:2] == "??" and one.endswith(_OUTPUTS))]
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(changed)}


def _built_from(note: Path) -> dict[str, Any]:
    """Reads what the build noted in the wheel (hatch_build.py)."""
    commit, dirty, _ = note.read_text(encoding="utf-8").strip().partition(".dirty") if note.is_file() else ("", "", "")
    return {"git_commit": commit or None, "git_dirty": bool(dirty) if commit else None}


def cited_version() -> str:
    """Writes the version with its commit, as a user can quote it: 0.2.0+g1234567890ab, .dirty if files were changed."""
    state = git_state(Path(__file__).parents[1])
    commit = f"+g{state['git_commit'][:12]}" if state["git_commit"] else ""
    return __version__ + commit + ".dirty" * bool(state["git_dirty"])


def hardware(trainer: Any) -> dict[str, Any]:
    """Looks up what this run really uses.

    Args:
        trainer: the Trainer, set up for its strategy.
    """
    import torch

    device, processes = trainer.strategy.root_device, trainer.processes
    found = {
        "cpu": machine.cpu_model(),
        "cores": len({core for process in processes for core in process["cores"]}) or machine.usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": machine.memory_gib(),
        "instructions": list(machine.usable_instructions()),
        "accelerator": device.type,
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "strategy": _strategy(trainer.strategy),
        "precision": str(trainer.precision),
        "platform": platform.platform(),
        "processes": processes,
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["benchmark"] = torch.backends.cudnn.benchmark
        # torch's default since Ampere (8.0): convolutions of float32 multiply with 10 bits of the mantissa.
        found["tf32"] = torch.backends.cudnn.allow_tf32 and torch.cuda.get_device_capability(device) >= (8, 0)
    return found


def _strategy(strategy: Any) -> str:
    """Finds Lightning's name of a strategy, with the stage of ZeRO."""
    name = str(getattr(strategy, "strategy_name", type(strategy).__name__))
    stage = (getattr(strategy, "config", None) or {}).get("zero_optimization", {}).get("stage")
    return name if stage is None else f"{name}_stage_{stage}"
