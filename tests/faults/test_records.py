"""Damaged records: each costs only itself, in one sentence, in bounded time and memory, and runs nothing."""

import copy
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import made_up
from tests.conftest import HANGING
from tests.faults import holder_of, numbers, places

pytestmark = pytest.mark.faults

TOGETHER = 10
"""Records that are read by one process."""
MOST_SECONDS = 20
MOST_BYTES = 2**30
MARK = "ran.mark"
"""What code in a pickle would leave in the folder that the command runs in."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 0.5, 2.5, -0.0, 1e308, float("nan"), float("inf"), 10**400, -(10**400), 2**63, "",
    "x",
    "x" * 5_000, "null", "\x1b[31m", "\u202eabc", "\ud800", "a\x07b", "<script>|", [], {}, [[]], [None], [1] * 1_000,
    {"a": 1}, {"": None}, [1, 2], [[1, 2]], {"epoch": 1}, "../../x", "ghugre_parallel", "cifar100", [{}], {"1": {}},
)  # fmt: skip

TEXTS: tuple[bytes, ...] = (
    b"", b"{", b"null", b"[]", b"[1]", b"1", b'"x"', b"\x00", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"{}" * 1_000,
    b"[" * 100_000, b'{"schema":' * 100_000, b'{"schema": 1, "row": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"schema": ' + b"1" * 5_000 + b"}", b'{"schema": 1e999}', b'{"schema": true}', b'{"schema": 2}', b'{"schema": 1}',
    b"x" * 2**26, b"PK\x03\x04", b'{"schema": 1, "schema": 2}', b'{"schema": -1}', b'{"schema": "1"}',
)  # fmt: skip

CONFIGS: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"x", b"\x00", b"\xff\xfe", b"reproduction: [1]", b"reproduction: 1\nmodel: 2", b"model: null",
    b"trainer: [1]\nmodel: {}\ndata: {}\nreproduction: {}", b"trainer: {}\nmodel: {}\ndata: {}\nreproduction: {}",
    b"trainer: {}\nmodel: {class_path: [1]}\ndata: {}\nreproduction: {}", b"x" * 2**22, b"a: *b", b"a: 1\na: 2",
    b"trainer: {}\nmodel: {class_path: x, init_args: 5}\ndata: {dataset: {}}\nreproduction: {}",
    b"trainer: {max_epochs: {a: [1]}}\nmodel: {}\ndata: {sample: [], holdout_images: x}\nreproduction: {row: {}}",
    b"? [a]\n: b", b"1: 2", b"!!python/object/apply:os.system ['touch ran.mark']", b"a: 2024-99-99",
)  # fmt: skip


class Runs:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARK}",)


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The first bytes of an array as NumPy writes it."""
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def packed(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def npz(**arrays: Any) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def npy(array: Any) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=True)
    return held.getvalue()


def bomb(mebibytes: int, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An npz that unpacks to a thousand times its size."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive, archive.open("label.npy", "w", force_zip64=True) as member:
        member.write(header((mebibytes << 20,)))
        for _ in range(mebibytes):
            member.write(bytes(2**20))
    return held.getvalue()


def lying_bomb() -> bytes:
    """A bomb that says it is small."""
    whole = bytearray(bomb(1_000))
    place = whole.rindex(b"PK\x01\x02")
    whole[place + 24 : place + 28] = struct.pack("<I", 1_000)
    return bytes(whole)


def arrays(**changes: Any) -> bytes:
    """A kept run's predictions with some arrays changed."""
    return npz(**(made_up.answers(1) | changes))


PREDICTIONS: tuple[Callable[[], bytes], ...] = (
    lambda: b"", lambda: b"PK\x03\x04 cut short", lambda: b"no archive at all", lambda: npy(np.zeros(10)),
    lambda: packed({"label.npy": header((10**11,)) + b"\x00"}), lambda: packed({"label.npy": header((2**62, 2**62))}),
    lambda: packed({"label.npy": header((-1,)) + b"\x00"}), lambda: bomb(1_000), lying_bomb,
    lambda: bomb(300, zipfile.ZIP_BZIP2), lambda: bomb(300, zipfile.ZIP_LZMA),
    lambda: packed({"label.npy": npy(np.array([Runs()], dtype=object))}), lambda: npy(np.array([Runs()], dtype=object)),
    lambda: packed({"label.npy": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 60_000}), lambda: packed({}),
    lambda: packed({f"a{n}": b"" for n in range(20_000)}), lambda: packed({"label": b"", "label.npy": b""}),
    lambda: arrays(label=np.full(10_000, -1)), lambda: arrays(label=np.full(10_000, 2**63, np.uint64)),
    lambda: arrays(**{"class": np.full(10_000, 2**64 - 1, np.uint64)}), lambda: arrays(rank=np.full(10_000, -5)),
    lambda: arrays(**{"class": np.full(10_000, 300)}), lambda: arrays(loss=np.full(10_000, np.nan, np.float32)),
    lambda: arrays(confidence=np.full(10_000, 1e300)), lambda: arrays(loss=np.full((10_000, 2), 1.0)),
    lambda: arrays(label=np.zeros(0, np.uint8)), lambda: arrays(label=np.array(3)),
    lambda: arrays(label=np.array(["x"])),
    lambda: arrays(label=np.zeros(10_000, "M8[s]")), lambda: arrays(confidence=np.zeros(10_000, np.complex64)),
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """A kept record with one value replaced, taken away, renamed or put elsewhere."""
    content = copy.deepcopy(made_up.REAL)
    place = rng.choice(places(content))
    if rng.random() < 0.5:  # most places are in the curve
        place = (rng.choice(list(content)),)
    holder, last = holder_of(content, place), place[-1]
    kind = rng.randrange(5)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("unknown", f"{last}x", "path", "name"))] = holder.pop(last)
    else:
        holder[last] = rng.choice(VALUES)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def cut(whole: bytes, rng: random.Random) -> bytes:
    """A file that ends early, or has some bytes changed."""
    if rng.random() < 0.5:
        return whole[: rng.randrange(len(whole))]
    damaged = bytearray(whole)
    for _ in range(rng.randrange(1, 20)):
        damaged[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(damaged)


def damage(folder: Path, number: int) -> None:
    """Makes a damaged run; the same number makes the same."""
    made_up.copy_of_kept(folder)
    rng = random.Random(number)
    kind, name = number % 6, "result.json"
    if kind == 0:
        new = TEXTS[number // 6 % len(TEXTS)]
    elif kind in (1, 2):
        new = mutated(rng)
    elif kind == 3:
        name, new = "config.yaml", CONFIGS[number // 6 % len(CONFIGS)]
    elif kind == 4:
        name, new = "predictions.npz", PREDICTIONS[number // 6 % len(PREDICTIONS)]()
    else:
        name = rng.choice(("result.json", "config.yaml", "predictions.npz"))
        new = cut((folder / name).read_bytes(), rng)
    (folder / name).write_bytes(new)
    content = json.loads((made_up.KEPT / "result.json").read_text())
    if name != "result.json" and number // 6 % 2:  # by somebody who seals what he damaged
        content[f"{name.partition('.')[0]}_sha256"] = made_up.digest(folder / name)
        made_up.write(folder, content)


@dataclass(frozen=True)
class Ended:
    """A command that has ended, with its own CPU seconds and the most memory that it took."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    memory: int


# A process of its own starts the command: until it has its own memory, a child counts with the memory of the one that
# started it, and pytest's may be large.
_MEASURED = """
import json, os, subprocess, sys
started = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(started.pid, 0)
found = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


def verify(folder: Path, *flags: str) -> Ended:
    """Runs `verify` in a folder."""
    line = [sys.executable, "-m", "cifar_hpc", "verify", *flags]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        around = [sys.executable, "-S", "-c", _MEASURED, "measured", *line]
        process = subprocess.Popen(around, cwd=folder, stdout=out, stderr=err, start_new_session=True)
        watchdog = threading.Timer(HANGING, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        process.wait()
        watchdog.cancel()
    status, seconds, memory = json.loads((folder / "measured").read_text())
    out_text, err_text = ((folder / name).read_text() for name in ("out", "err"))
    return Ended(status, out_text, err_text, seconds, memory)


@pytest.mark.parametrize("batch", numbers(30, sample=3))
def test_a_damaged_record_costs_only_itself(batch: int, tmp_path: Path) -> None:
    for number in range(TOGETHER * batch, TOGETHER * (batch + 1)):
        damage(tmp_path / "damaged" / str(number), number)
    made_up.keep(tmp_path / "damaged" / "sound", "ghugre_sequential", 2)
    done = verify(tmp_path, "damaged", "--json", "-")
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout)
    assert "damaged/sound/result.json" in found["rows"][0]["records"]
    assert found["problems"]
    for problem in found["problems"]:
        assert "damaged/" in problem
        assert problem.isprintable()
        assert len(problem) < 600
    assert done.seconds < MOST_SECONDS
    assert done.memory < MOST_BYTES
    assert not list(tmp_path.rglob(MARK))


@pytest.mark.parametrize(
    ("name", "new", "told"),
    [
        (
            "result.json",
            lambda: sealed(time={**made_up.REAL["time"], "fit_seconds": 10**400}),
            "time.fit_seconds is 1000",
        ),
        ("result.json", lambda: b"[" * 100_000, "is nested deeper than any"),
        ("result.json", lambda: sealed(changed_from_row={"a": 1}), "changed_from_row.a is 1; it must be"),
        ("config.yaml", lambda: b"reproduction: [1]", "config_sha256 is"),
        ("predictions.npz", PREDICTIONS[4], "does not hold what its header says"),
        ("predictions.npz", lambda: npy(np.zeros(10)), "is damaged and cannot be read"),
        ("predictions.npz", lambda: bomb(1_100), "are more than any test set's answers"),
    ],
    ids=["time", "deep", "changes", "group", "header", "npy", "bomb"],
)
def test_what_once_ended_the_whole_command(name: str, new: Callable[[], bytes], told: str, tmp_path: Path) -> None:
    folder = made_up.copy_of_kept(tmp_path / "damaged" / "one")
    (folder / name).write_bytes(new())
    made_up.keep(tmp_path / "damaged" / "sound", "ghugre_sequential", 2)
    done = verify(tmp_path, "damaged")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ghugre_sequential: epoch 15 (full)" in done.stdout
    assert done.seconds < MOST_SECONDS
    assert done.memory < MOST_BYTES


def sealed(**changes: Any) -> bytes:
    return json.dumps(made_up.REAL | changes).encode()


@pytest.mark.parametrize("name", ["result.json", "predictions.npz", "config.yaml"])
def test_what_is_no_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    folder = made_up.copy_of_kept(tmp_path / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    done = verify(tmp_path, "run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{name} is" in done.stderr
