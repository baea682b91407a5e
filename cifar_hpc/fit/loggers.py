"""The loggers of a run: TensorBoard's, and beside it those that `trainer.logger` names."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from cifar_hpc.fit.tensorboard import RunLogger
from cifar_hpc.fit.trainer import as_list


def run_loggers(asked: Any, config: dict[str, Any], run_dir: Path, draw_graph: bool) -> Any:
    """Makes what the Trainer gets as its flag `logger`.

    The texts that are given to a logger may have {run_dir}, {row} and {seed}, which are known only now: a file that
    serves every row can so give each run a name and a place of its own.

    Args:
        asked: the flag as it was parsed: a logger, several, or null, true or false.
        config: the run's configuration.
        run_dir: the run's directory.
        draw_graph: whether TensorBoard can draw the network.
    """
    if asked is False:
        return False
    group = config["reproduction"]
    names = {"{run_dir}": run_dir, "{row}": group["row"] or group["recipe"], "{seed}": config["seed_everything"]}
    loggers = [] if asked in (None, True) else as_list(asked)
    others = [_named(*pair, names) for pair in zip(loggers, as_list(config["trainer"]["logger"]), strict=False)]
    has_own = any(isinstance(logger, TensorBoardLogger) for logger in others)
    return others if has_own else [RunLogger(run_dir, config, draw_graph), *others]


def _named(logger: Any, written: Any, names: dict[str, Any]) -> Any:
    """Puts names in the place of a logger's braces; returns the logger itself where its configuration has none."""
    group = written if isinstance(written, dict) else {}
    given = {**(group.get("init_args") or {}), **(group.get("dict_kwargs") or {})}
    filled = {key: _filled(value, names) for key, value in given.items()}
    return logger if filled == given else type(logger)(**filled)


def _filled(value: Any, names: dict[str, Any]) -> Any:
    for name, text in names.items() if isinstance(value, str) else ():
        value = value.replace(name, str(text))
    return value
