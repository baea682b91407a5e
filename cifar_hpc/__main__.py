"""`python -m cifar_hpc COMMAND …`."""

from cifar_hpc.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
