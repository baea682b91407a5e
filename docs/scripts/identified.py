"""Brings what the pages show of `identify` up to date with the kept records.

python docs/scripts/identified.py
"""

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
_SHOWN = re.compile(r"^    \$ python -m (cifar_hpc identify .*)\n(?:    .*\n)+", re.MULTILINE)


def fresh(shown: re.Match[str]) -> str:
    """Runs a command that a page shows, and writes it with what it prints, as the page indents it."""
    done = subprocess.run(
        [sys.executable, "-m", *shown[1].split()], cwd=DOCS.parent, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        sys.exit(done.stderr)
    lines = [f"$ python -m {shown[1]}", *done.stdout.rstrip().splitlines()]
    return "".join(f"    {line}\n" for line in lines)


for page in sorted(DOCS.glob("*.md")):
    text = page.read_text(encoding="utf-8")
    if (new := _SHOWN.sub(fresh, text)) != text:
        page.write_text(new, encoding="utf-8")
