# PYTHON_ARGCOMPLETE_OK
"""`python -m cifar_hpc`."""

import sys

from cifar_hpc.errors import missing_package

try:
    from cifar_hpc.cli import main
except ModuleNotFoundError as error:
    if not (told := missing_package(error)):
        raise
    sys.stderr.write(f"cifar_hpc: {told}\n")
    raise SystemExit(2) from None

if __name__ == "__main__":
    raise SystemExit(main())
