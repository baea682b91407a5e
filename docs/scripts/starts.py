"""CPU seconds that commands take to start, beside those of `import torch`: the table in docs/performance_log.md.

python docs/scripts/starts.py
"""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TURNS = 5
COMMANDS = ("--help", "fit --help", "fit --help=all", "rows", "audit", "claims", "doctor")


def seconds(arguments: list[str]) -> float:
    """User and system seconds of a Python that is started with these arguments, and of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=here, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the table: medians of turns in which all commands follow each other."""
    lines = {"import torch": ["-c", "import torch"]}
    lines |= {command: ["-m", "cifar_hpc", *command.split()] for command in COMMANDS}
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for turn in range(TURNS + 1):
        for name, arguments in lines.items():
            found = seconds(arguments)
            if turn:  # the first reads files that later ones find in memory
                taken[name].append(found)
    torch = statistics.median(taken["import torch"])
    print("| command | CPU seconds | of `import torch` |\n|---|---:|---:|")
    for name, each in taken.items():
        print(f"| `{name}` | {statistics.median(each):.2f} | {statistics.median(each) / torch:.2f} |")


if __name__ == "__main__":
    main()
