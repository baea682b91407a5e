"""Writes cifar_hpc/collection/defaults.json: what a row's file leaves out, as LightningCLI's parser fills it in.

python docs/scripts/defaults.py
"""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser

from cifar_hpc import models
from cifar_hpc.collection import defaults
from cifar_hpc.fit.configuration import CIFARCLI
from cifar_hpc.models.classifier import Classifier

ROOT = Path(__file__).parents[2]


def made() -> dict[str, dict[str, Any]]:
    """The defaults of Trainer and data, and of each network, optimiser and schedule by its import path."""
    row = CIFARCLI("fit", ["-c", str(next((ROOT / "reproductions").glob("ghugre_*.yaml")))])
    whole = json.loads(row.parser.dump(row.parser.get_defaults(), skip_none=False, skip_validation=True, format="json"))
    found = {group: whole[group] for group in ("trainer", "data")}
    for module, base in ((models, Classifier), (torch.optim, torch.optim.Optimizer), *_SCHEDULES):
        for name, kind in sorted(vars(module).items()):
            if inspect.isclass(kind) and issubclass(kind, base) and kind is not base and not name.startswith("_"):
                found[f"{module.__name__}.{name}"] = _arguments(kind)
    return found


_SCHEDULES = ((torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),)


def _arguments(kind: type[Any]) -> dict[str, Any]:
    """Those that have a default."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(
        kind, "x", skip={"params", "optimizer"} if kind.__module__.startswith("torch") else set()
    )
    dumped = json.loads(parser.dump(parser.get_defaults(), skip_none=False, skip_validation=True, format="json"))
    return dict(dumped.get("x", {}))


if __name__ == "__main__":
    defaults.FILE.write_text(json.dumps(made(), indent=1) + "\n", encoding="utf-8")
