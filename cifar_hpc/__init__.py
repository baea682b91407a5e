"""Five published reports on training CNNs on CIFAR with HPC tools, run again and judged.

This file imports nothing heavy: `python -m cifar_hpc --help` answers before torch could be loaded.
"""

__version__ = "0.2.0.dev0"
