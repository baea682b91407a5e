"""What this machine can compute with, and how much of it others use."""

import gc
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

INSTRUCTIONS = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
}
"""What matters for speed, from slow to fast, and the flag by which Linux names it."""

_LEFT_BY_ONEDNN = {
    "SSE41": (),
    "AVX": (),
    "AVX2": ("avx2",),
    "AVX2_VNNI": ("avx2",),
    "AVX2_VNNI_2": ("avx2",),
    "AVX512_CORE": ("avx2", "avx512"),
    "AVX512_CORE_VNNI": ("avx2", "avx512"),
    "AVX512_CORE_BF16": ("avx2", "avx512", "avx512_bf16"),
    "AVX512_CORE_FP16": ("avx2", "avx512", "avx512_bf16"),
    "AVX10_1_512": ("avx2", "avx512", "avx512_bf16"),
}
"""What each value of ONEDNN_MAX_CPU_ISA leaves; those that are not here leave everything."""


@contextmanager
def importing_for_good() -> Iterator[None]:
    """Keeps the garbage collector off what is imported within, now and later.

    It would go through half a million objects that live as long as the process, over and over while they are made, then
    again in training and at exit, and find nothing to free: a quarter to a third of the CPU seconds of such imports.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def cpu_model() -> str:
    """Reads the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def has_gpu() -> bool:
    """Looks for a GPU of NVIDIA's that may be used, without torch, which takes seconds to start."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def gpu_model() -> str | None:
    """Reads the first GPU's name as NVIDIA's driver gives it; None where it tells nothing."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            for line in file.read_text().splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
    return None


def usable_cores() -> int:
    """Counts the cores that this process may use, which under Slurm or taskset are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float | None:
    """Reads the size of the machine's memory, GiB; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


@cache
def instructions() -> dict[str, bool]:
    """Finds whether the processor has each of `INSTRUCTIONS`; empty where the system does not tell."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return {}
    is_x86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
    return {name: flag in flags for name, flag in INSTRUCTIONS.items()} if is_x86 else {}


def usable_instructions() -> tuple[str, ...]:
    """Lists those of the processor's instructions that torch's convolutions use.

    ONEDNN_MAX_CPU_ISA (and its elder name DNNL_MAX_CPU_ISA) makes oneDNN, which computes them, leave the newer ones
    out, so that one machine can stand in for an older one.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    allowed = _LEFT_BY_ONEDNN.get(limit.upper(), tuple(INSTRUCTIONS))
    return tuple(name for name, there in instructions().items() if there and name in allowed)


def bf16_engine(on_cpu: bool) -> str | None:
    """Finds what computes bfloat16 on the device that a run takes: an instruction, or the GPU's name; None if nothing.

    Elsewhere bfloat16 is emulated: right, and several times slower than float32.

    Args:
        on_cpu: whether the run takes the CPU, and not the GPU that is there.
    """
    if not on_cpu:
        import torch

        # Before Ampere (8.0) CUDA emulates it.
        there = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
        return torch.cuda.get_device_name() if there else None
    found = [name for name in usable_instructions() if name.endswith("bf16")]
    return found[-1] if found else None


@dataclass(frozen=True)
class Precision:
    """A precision of the Trainer, and why it is the one.

    Attributes:
        name: name of the precision, as Lightning has it.
        why: the reason in a few words; empty where there is nothing to say.
        emulated: whether nothing here computes it, so that a run is right and several times slower than in float32.
    """

    name: str
    why: str = ""
    emulated: bool = False


def choose_precision(asked: str, on_cpu: bool) -> Precision:
    """Takes the precision that was asked for; for `auto`, bf16-mixed where something computes it, else 32-true.

    Args:
        asked: Lightning's name of a precision, or `auto`.
        on_cpu: whether the run takes the CPU, and not the GPU that is there.
    """
    engine, device = bf16_engine(on_cpu), "processor" if on_cpu else "GPU"
    if asked == "auto":
        if engine is None:
            return Precision("32-true", f"this {device} does not compute bfloat16")
        return Precision("bf16-mixed", f"{engine} computes bfloat16")
    if asked.startswith("bf16") and engine is None:
        return Precision(asked, f"this {device} only emulates bfloat16", emulated=True)
    return Precision(asked)


class Load:
    """How much of the cores that this process may use others have, while a run goes on.

    Others are all processes but this one's own and those that it or its launcher started; where the system tells of
    it, the other guests of the host too. Read from Linux's /proc; elsewhere the share is None.

    Attributes:
        others: seconds of cores that others had.
        all_cores: seconds of all cores.
    """

    def __init__(self) -> None:
        self.others, self.all_cores = 0.0, 0.0
        self._root = os.getpid()
        self._last: tuple[float, float, float] | None = None

    def start(self, launched: bool) -> None:
        """Starts counting.

        Args:
            launched: whether a launcher such as torchrun started this process and its siblings.
        """
        self._root = os.getppid() if launched else os.getpid()
        self._last = self._now()

    def update(self) -> None:
        """Counts the time since the last call."""
        before, self._last = self._last, self._now()
        if before is None or self._last is None:
            return
        wall, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        self.others += max(0.0, busy - own)
        self.all_cores += wall * usable_cores()

    @property
    def share(self) -> float | None:
        """The others' share of the cores' time, as a fraction of 1."""
        return round(min(1.0, self.others / self.all_cores), 4) if self.all_cores else None

    def _now(self) -> tuple[float, float, float] | None:
        try:
            return time.perf_counter(), _busy_seconds(), _seconds_of_tree(self._root)
        except (OSError, ValueError, AttributeError):
            return None


def _busy_seconds() -> float:
    """Counts the seconds that the usable cores were at work for anybody, since the machine started."""
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    # user nice system idle iowait irq softirq steal; what follows is part of user and nice already
    times = [list(map(int, fields[1:9])) for fields in lines if fields and fields[0] in names]
    return sum(sum(core) - core[3] - core[4] for core in times) / os.sysconf("SC_CLK_TCK")


def _seconds_of_tree(root: int) -> float:
    """Counts the CPU seconds of a process and all its descendants, also those that ended and were waited for."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended since
        number = int(file.parent.name)
        parents[number] = int(fields[1])
        seconds[number] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def descends(number: int) -> bool:
        while number not in (root, 0, 1):
            number = parents.get(number, 0)
        return number == root

    return sum(used for number, used in seconds.items() if descends(number))
