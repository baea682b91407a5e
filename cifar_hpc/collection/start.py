"""The command `init`: a collection of one's own, ready to run."""

import shlex
from pathlib import Path

from cifar_hpc.errors import UserError

_TEMPLATE = Path(__file__).parent / "template"
_PLACES = {"github.yml": ".github/workflows/reports.yml", "gitlab-ci.yml": ".gitlab-ci.yml"}
"""Files that lie elsewhere in a collection than in the template."""


def command(folder: Path) -> int:
    """Makes a collection with one report of two rows, which shows how to write more.

    Args:
        folder: may hold other files already.

    Raises:
        UserError: if one of the files is there already, or cannot be written.
    """
    files = {folder / _PLACES.get(source.name, source.name): source for source in sorted(_TEMPLATE.iterdir())}
    if there := [str(path) for path in files if path.exists()]:
        raise UserError(f"init {folder}: {', '.join(there)} is there already, and nothing is overwritten")
    try:
        for path, source in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"init {folder}: {error.filename} cannot be written: {error.strerror}") from error
    named = shlex.quote(str(folder))
    print(f"{folder} is a collection of one made-up report; {folder / 'README.md'} says what its files hold. Next:")
    print(f"  python -m cifar_hpc audit --collection {named}")
    print(f"  python -m cifar_hpc rows --collection {named}")
    return 0
