import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, mmap, resource, sys
from cifar_hpc.speed.allocator import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
size = 64 * 2**20
def touch():
    block = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    libc.free(ctypes.c_void_p(block))
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * mmap.PAGESIZE / size)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
@pytest.mark.parametrize(("mode", "few"), [("keep", True), ("leave", False)])
def test_pages_are_cleared_once(mode: str, few: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    assert (float(done.stdout) < 0.01) == few  # the share of the block's pages that the kernel had to bring
