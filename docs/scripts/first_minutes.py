"""Writes docs/first_minutes.md: what a newcomer sees on a terminal of 80 columns, in a fresh clone.

python docs/scripts/first_minutes.py
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from cifar_hpc import machine  # noqa: E402
from cifar_hpc.output import write_file  # noqa: E402

COLUMNS = 80
COMMANDS = (
    ("", "What is this?"),
    ("fit --help", "What can be trained, and how?"),
    ("fit -c ghugre_sequential -c smoke", "Does it work?"),
    ("verify runs/ghugre_sequential/smoke/seed1", "What does that run say?"),
    ("rows", "What is there, and what is known of it?"),
    ("report", "All of it on a page:"),
)

PICTURES = """

The page's first screen on a laptop and on a phone, as the browser's user likes it (`make captures`):

![1280 pixels wide, light](captures/page_1280_light.png)
![1280 pixels wide, dark](captures/page_1280_dark.png)
![390 pixels wide, light](captures/page_390_light.png)
![390 pixels wide, dark](captures/page_390_dark.png)
"""


def screen(arguments: str, folder: Path) -> tuple[str, float]:
    """What a command leaves on a terminal, and the seconds it took."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    programs = Path(sys.executable).parent  # as in an active environment
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(folder), "TERM": "dumb"}
    line = [sys.executable, "-m", "cifar_hpc", *arguments.split()]
    began, shown = time.perf_counter(), b""
    with subprocess.Popen(line, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        with suppress(OSError):  # which is how a terminal ends
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    if running.returncode not in (0, 3):  # 3: undecided, as one run is
        raise SystemExit(f"{arguments}: exit status {running.returncode}\n{shown.decode()}")
    return _read(shown.decode()), time.perf_counter() - began


def _read(shown: str) -> str:
    """The lines that one could read; a bar, which is written over again and again, as it stood last."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        states = [state.rstrip() for state in line.split("\r")]
        lines += [bar for bar, after in pairwise(states) if bar and not after]
        lines.append(states[-1])
    return "\n".join(lines).strip("\n")


def page() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "cifar_hpc"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        shots = [(arguments, why, *screen(arguments, clone)) for arguments, why in COMMANDS]
    cores = machine.usable_cores()
    total = sum(seconds for *_, seconds in shots)
    text = [
        "# The first minutes",
        "",
        f"What a newcomer sees on a terminal of {COLUMNS} columns, in a fresh clone and an active environment, without",
        "the dataset. `python docs/scripts/first_minutes.py` wrote it on a machine that other processes used too:",
        f"{cores} cores of an {machine.cpu_model()}, {total:.0f} s in all.",
    ]
    for arguments, why, shown, seconds in shots:
        command = f"python -m cifar_hpc {arguments}".rstrip()
        text += ["", f"{why} ({seconds:.1f} s)", "", "```text", f"$ {command}", shown, "```"]
    return "\n".join(text) + PICTURES


if __name__ == "__main__":
    write_file(ROOT / "docs" / "first_minutes.md", page())
