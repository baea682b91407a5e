"""Where a run lives: `runs/<row>/seed<k>/`, made once, never overwritten."""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.output import is_part, remove_parts, write_file

_LOCK, _PROBE = ".lock", ".writable"


def runs() -> Path:
    """Returns the folder where new runs go: `runs` here, or in the folder of a collection of one's own."""
    return chosen().runs


def new_run_directory(name: str, seed: int, run_dir: Path | None) -> Path:
    """Makes a run's directory.

    Args:
        name: id of the row or name of the recipe, with `/smoke` behind it for runs on a part of the dataset.
        seed: seed of the run.
        run_dir: the user's choice; null for `runs/<name>/seed<seed>`, with `-2`, `-3`, … behind it when
            that is taken.

    Raises:
        UserError: if the user's choice holds anything already, or nothing can be written there.
    """
    try:
        if run_dir is not None:
            if run_dir.exists() and (not run_dir.is_dir() or not all(map(_is_left_over, run_dir.iterdir()))):
                raise UserError(
                    f"--run_dir {run_dir} is not empty, and nothing is overwritten; name another folder"
                    + (", or add --resume to go on with the run in it" if holds_run(run_dir) else "")
                )
            run_dir.mkdir(parents=True, exist_ok=True)
            _check_writable(run_dir)
            return run_dir
        for attempt in range(1, 10_000):
            folder = runs() / name / (f"seed{seed}" if attempt == 1 else f"seed{seed}-{attempt}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise UserError(
            f"The run directory {run_dir or runs()} cannot be written ({error.strerror}); name another with --run_dir"
        ) from error
    raise UserError(f"{runs() / name} holds ten thousand runs of seed {seed}; remove some")


def remove(folder: Path) -> None:
    """Takes back a directory that was made for a run which was then refused, with what was made to hold it."""
    shutil.rmtree(folder)
    for parent in folder.parents if runs() in folder.parents else ():
        if runs() in (parent, *parent.parents):
            with suppress(OSError):  # other runs are in it
                parent.rmdir()


def _is_left_over(path: Path) -> bool:
    """Checks whether a file is all that a process left which was killed before its run began."""
    return path.name in (_LOCK, _PROBE) or is_part(path)


def _check_writable(folder: Path) -> None:
    probe = folder / _PROBE
    probe.touch()
    probe.unlink()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Takes a run's directory for this process; the system gives it back when the process ends, however it ends.

    Raises:
        UserError: if another process is at work in it.
    """
    held = FileLock(folder / _LOCK)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UserError(f"The run in {folder} is still at work in another process; wait for it or stop it") from None
    except OSError as error:
        raise UserError(
            f"The run in {folder} cannot be written to: {error.strerror}; give it a place that can"
        ) from error
    for place in (folder, folder / "checkpoints"):
        remove_parts(place)
    try:
        yield
    finally:
        held.release()


def find_unfinished(name: str, seed: int, run_dir: Path | None) -> Path | None:
    """Finds the newest run of this name and seed that did not complete, or the one in `run_dir`.

    Raises:
        UserError: if the run in `run_dir` is complete.
    """
    if run_dir is not None:
        if status(run_dir) == "complete":
            raise UserError(f"The run in {run_dir} is complete; there is nothing to resume")
        return run_dir if holds_run(run_dir) else None
    return newest(name, seed, "partial", "failed")


def newest(name: str, seed: int, *statuses: str) -> Path | None:
    """Finds the run of this name and seed that was last written to, of those with one of these statuses."""
    folders = [f for pattern in (f"seed{seed}", f"seed{seed}-*") for f in (runs() / name).glob(pattern)]
    return max((f for f in folders if status(f) in statuses), key=lambda f: f.stat().st_mtime, default=None)


def holds_run(folder: Path) -> bool:
    """Checks whether a run has begun in a folder: its settings are the first thing that it writes."""
    return (folder / "config.yaml").exists()


def status(folder: Path) -> str | None:
    """Reads the status in a run's result.json; null where there is none yet."""
    try:
        return str(json.loads((folder / "result.json").read_text())["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    write_file(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    """Replaces by null the numbers that JSON has no word for: the loss of a run that diverged."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
