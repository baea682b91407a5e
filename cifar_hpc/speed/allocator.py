"""Lets glibc keep the memory that a training step gives back, because the next step asks for it again.

By default glibc takes every block above some size (32 MB at most) afresh from the kernel and gives it back at
once, and the kernel clears each of its pages on first touch: for large activations that takes longer than
computing them (`docs/performance_log.md`).
"""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_LARGEST_INT = 2**31 - 1


def keep_memory() -> bool:
    """Has glibc keep this process's memory, at any time, without a restart; no result depends on it.

    Returns:
        Whether the C library is glibc and took the setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT))
