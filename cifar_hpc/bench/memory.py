"""Memory of a group of processes, as it would be if the group were alone on the machine."""

import os
import re
from collections import defaultdict
from pathlib import Path

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+) (\S+) \d+", re.MULTILINE)
"""The line in /proc/PID/smaps that begins a mapping, with its offset in a file and that file's device."""


def group_memory_mib(group: int) -> float | None:
    """Measures what the processes of a group have in memory, in MiB; None where there is no /proc.

    Pages of their own are added up. Of a file that several map, libtorch or the dataset, the most that one of them has
    counts, once. The kernel's proportional set size (PSS) would share such pages out among all other processes of the
    machine too, contestants that have been stopped and this one among them, and so be too small.

    Args:
        group: number of the process group.
    """
    if not Path("/proc/self/smaps").exists():
        return None
    own, files = 0, dict[tuple[str, ...], int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) != group:
                continue
            text = (folder / "smaps").read_text(encoding="utf-8", errors="replace")
        except (ProcessLookupError, FileNotFoundError, PermissionError):  # it has ended, or is somebody else's
            continue
        own_here, files_here = _resident(text)
        own += own_here
        for key, kib in files_here.items():
            files[key] = max(files.get(key, 0), kib)
    return (own + sum(files.values())) / 1024


def _resident(smaps: str) -> tuple[int, dict[tuple[str, ...], int]]:
    """Counts the KiB of a process's own pages, and of each part of a file that it maps."""
    own, files = 0, defaultdict[tuple[str, ...], int](int)
    _, *parts = _MAPPING.split(smaps)
    for offset, device, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        kib = {key: int(value) for key, value in re.findall(r"^(Rss|Anonymous): +(\d+) kB", rest, re.MULTILINE)}
        name = rest.partition("\n")[0].strip()
        own += kib["Anonymous"]
        files[offset, device, name] += kib["Rss"] - kib["Anonymous"]
    return own, files
