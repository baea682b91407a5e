"""What the machine offers, and how much of it others use: real processes, real /proc."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from cifar_hpc import machine

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")

BURN = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"


def test_the_collector_is_kept_off_imports_and_works_again() -> None:
    before = gc.get_freeze_count()
    with machine.importing_for_good():
        assert not gc.isenabled()
        held = [[]]  # type: list[list[int]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    assert held


def test_own_children_are_not_others() -> None:
    before = machine._seconds_of_tree(os.getpid())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert machine._seconds_of_tree(os.getpid()) - before > 0.4


def test_others_are_seen() -> None:
    load = machine.Load()
    load.start(launched=False)
    # The shell's child outlives it, and so descends from this process no more.
    burner = int(subprocess.check_output(["sh", "-c", "while :; do :; done > /dev/null 2>&1 & echo $!"]))
    try:
        deadline = time.perf_counter() + 60
        while load.others < 0.2 and time.perf_counter() < deadline:
            time.sleep(0.2)
            load.update()
    finally:
        os.kill(burner, signal.SIGKILL)
    assert load.others >= 0.2
    assert load.share is not None
    assert 0 < load.share <= 1


def test_nothing_is_said_before_anything_was_counted() -> None:
    assert machine.Load().share is None


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (None, ("avx2", "avx512", "avx512_bf16", "amx_bf16")),
        ("ALL", ("avx2", "avx512", "avx512_bf16", "amx_bf16")),
        ("AVX512_CORE_BF16", ("avx2", "avx512", "avx512_bf16")),
        ("AVX512_CORE", ("avx2", "avx512")),
        ("avx2", ("avx2",)),
        ("SSE41", ()),
    ],
)
def test_onednns_limit_stands_for_an_older_processor(
    limit: str | None, left: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "instructions", lambda: dict.fromkeys(machine.INSTRUCTIONS, True))
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert machine.usable_instructions() == left
    assert machine.bf16_engine(on_cpu=True) == next((name for name in reversed(left) if "bf16" in name), None)
