"""Statistics of turns: a shared machine's drifting speed leaves outliers, so medians and quartiles are told."""

import statistics

from cifar_hpc.errors import UserError


def check_turns(turns: int, seconds: float) -> None:
    """Refuses a measurement that would have no spread, or no length.

    Raises:
        UserError: if there are fewer than two turns, or a turn takes no time.
    """
    if turns < 2 or not seconds > 0:
        raise UserError(f"--turns must be at least 2 and --seconds more than 0, not {turns} and {seconds}")


def quartiles(values: list[float]) -> list[float]:
    """Computes the first and third quartiles, between which half of the values lie.

    Args:
        values: at least two.
    """
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]
