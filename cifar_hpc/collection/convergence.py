"""When a row whose report trains "to convergence" has converged: for the run, and for who checks its record."""

from collections.abc import Sequence
from typing import Any

CALLBACK = "cifar_hpc.fit.callbacks.Converged"
"""Class of the callback that holds the rule, under trainer.callbacks in the row's file."""


def is_flat(accuracies: Sequence[float], points: float, epochs: int, at_least: int) -> bool:
    """Checks whether the best training accuracy of the last epochs is hardly above the best before them.

    The training accuracy decides, so that no test image has a say in when a run ends.

    Args:
        accuracies: training accuracy of each epoch so far, fractions of 1.
        points: the rise, in percentage points, below which a curve is flat.
        epochs: number of epochs that must have passed without such a rise.
        at_least: number of epochs that are trained in any case.
    """
    if len(accuracies) < max(at_least, epochs + 1):
        return False
    return 100 * (max(accuracies[-epochs:]) - max(accuracies[:-epochs])) < points


def rule(config: dict[str, Any]) -> dict[str, Any] | None:
    """Finds the arguments of `is_flat` in a row's or run's configuration; null where the number of epochs is fixed."""
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if isinstance(callback, dict) and callback.get("class_path") == CALLBACK:
            return dict(callback.get("init_args") or {})
    return None


def flat_epoch(config: dict[str, Any], accuracies: Sequence[float]) -> int | None:
    """Finds the epoch with which a rule ends a run; null where there is none, or it does not hold yet.

    Args:
        config: configuration of the row or run.
        accuracies: training accuracy of each epoch so far, fractions of 1.
    """
    if (arguments := rule(config)) is None:
        return None
    return next((n for n in range(1, len(accuracies) + 1) if is_flat(accuracies[:n], **arguments)), None)
