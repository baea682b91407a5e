"""The command `init`: a collection of one's own, ready to run."""

import argparse
import shlex
from pathlib import Path

from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_file

_TEMPLATE = Path(__file__).parent / "template"
_PLACES = {"github.yml": ".github/workflows/reports.yml", "gitlab-ci.yml": ".gitlab-ci.yml", "gitignore": ".gitignore"}
"""Files that lie elsewhere in a collection than in the template."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `init`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to make it in")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `init`."""
    return command(arguments.folder)


def command(folder: Path) -> int:
    """Makes a collection with one report of two rows, which shows how to write more.

    Args:
        folder: where it is made; may hold other files already.

    Raises:
        UserError: if one of the files is there already, or cannot be written.
    """
    files = {folder / _PLACES.get(source.name, source.name): source for source in sorted(_TEMPLATE.iterdir())}
    readme = folder / "README.md"
    if kept := readme.exists():  # a new repository has one
        files = {path: source for path, source in files.items() if path != readme}
    if there := [str(path) for path in files if path.exists()]:
        raise UserError(f"init {folder}: {', '.join(there)} is there already, and nothing is overwritten")
    try:
        for path, source in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"init {folder}: {error.filename} cannot be written: {error.strerror}") from error
    named = shlex.quote(str(folder))
    says = f"{readme} was there and stays" if kept else f"{readme} says what its files hold"
    tell(f"{folder} is a collection of one made-up report; {says}. Next:")
    tell(f"  python -m cifar_hpc audit --collection {named}")
    tell(f"  python -m cifar_hpc rows --collection {named}")
    return 0
