"""A real grid of real processes, and the model that goes beyond it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_hpc.bench.memory import group_memory_mib
from cifar_hpc.bench.scaling_grid import GridPlan, GridPoint, choose, grid
from cifar_hpc.bench.scaling_model import (
    Device,
    Link,
    rate_that_gives,
    ring_seconds,
    step_seconds,
    strong_speed_up,
    weak_speed_up,
)
from tests.conftest import Command, Refuse, two_cores

ROW = ("bench", "scaling", "--row", "ghugre_sequential", "--sample")


@two_cores
def test_one_process_and_two(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = command(
        *(*ROW, "--threads", "1", "--processes", "1", "2", "--precision", "32-true"),
        *("--turns", "3", "--seconds", "0.1", "--json", "found.json", "--plot", "found.png"),
    )
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "found.json").read_text())
    one, two = found["points"]
    assert (one["processes"], one["strategy"], two["processes"], two["strategy"]) == (1, None, 2, "ddp")
    assert one["speed_up"] == one["efficiency"] == 1
    low, high = two["speed_up_quartiles"]
    assert 0 < low <= two["speed_up"] <= high
    assert two["efficiency"] == pytest.approx(two["speed_up"] / 2)
    # Each has its own pages, and both share those of libtorch.
    assert one["memory_mib"] < two["memory_mib"] < 2 * one["memory_mib"]
    # It begins with the imports: many times a step, on any processor.
    assert one["first_batch_seconds"] > 5 * 32 / one["images_per_second"]
    answers = {answer["report"]: answer for answer in found["claims"]}
    assert answers["ashraf"]["measured"] == two["speed_up"]
    assert answers["ashraf"]["reported"]["ashraf_four_gpus"] == 3.5
    assert answers["shahrin"]["measured"] is None  # one thread alone was asked for
    assert answers["shahrin"]["reported"]["shahrin_resnet18_349_speed_up"] == pytest.approx(12957.5 / 9624.68)
    assert answers["luo"]["measured"] is None
    assert max(map(len, done.out.splitlines())) <= 100
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("cifar_hpc-*"))  # the folders of their runs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--row", "nonsense"], "There is no row nonsense"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--processes", "2", "-1"], "--processes must be at least 1, not -1"),
        (["--processes", "3"], "3 processes cannot share data.batch_size 32"),
        (["--strategy", "fsdp"], "--strategy fsdp is not known; it may be ddp"),
        (["--precision", "int8"], "--precision int8 is not known; it may be 32-true"),
        (["--turns", "1"], "--turns must be at least 2"),
        (["--plot", "found.txt"], "--plot found.txt must end in .png"),
        (["--json", "nowhere/found.json"], "--json nowhere/found.json cannot be written: there is no folder nowhere"),
    ],
)
def test_bad_requests(refuse: Refuse, arguments: list[str], words: str) -> None:
    assert words in refuse(*ROW, *arguments)


def test_deepspeed_that_is_missing(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    assert "--strategy deepspeed_stage_2 needs DeepSpeed" in refuse(*ROW, "--strategy", "ddp", "deepspeed_stage_2")


def plan(threads: tuple[int, ...], processes: tuple[int, ...], strategies: tuple[str, ...] = ("ddp",)) -> GridPlan:
    return GridPlan("ghugre_sequential", threads, processes, ("32-true",), strategies, False, True, 2, 1)


def test_a_single_process_has_no_strategy_and_the_reference_is_always_there() -> None:
    assert grid(plan((2,), (1, 2), ("ddp", "deepspeed_stage_1"))) == [
        GridPoint("32-true", None, 1, 1),
        GridPoint("32-true", None, 1, 2),
        GridPoint("32-true", "ddp", 2, 2),
        GridPoint("32-true", "deepspeed_stage_1", 2, 2),
    ]


def test_what_the_machine_cannot_host_is_left_out_by_name() -> None:
    points = grid(plan((1, 2), (1, 2, 4)))
    chosen, left_out = choose(points, cores=2, gpus=0, oversubscribe=False)
    assert [(p.processes, p.threads) for p in chosen] == [(1, 1), (1, 2), (2, 1)]
    assert [(p["processes"], p["threads"]) for p in left_out] == [(2, 2), (4, 1), (4, 2)]
    assert left_out[0]["reason"] == "4 threads, but 2 cores (--oversubscribe measures it)"
    assert left_out[1]["reason"] == "4 processes, but 2 cores"
    assert len(choose(points, cores=2, gpus=0, oversubscribe=True)[0]) == 4


HOLDER = """
import mmap, sys
file = open(sys.argv[1], "rb")
shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
read = sum(shared[::4096])
own = bytearray(b"x") * (32 << 20)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux' /proc")
def test_shared_pages_count_once(tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(bytes(64 << 20))
    memory, group, holders = [], 0, []
    for _ in range(2):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "shared")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group,
        )  # fmt: skip
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        group = group or holder.pid
        memory.append(group_memory_mib(group) or 0.0)
    for holder in holders:
        holder.communicate()
    assert 96 < memory[0] < 96 + 40  # and what Python itself takes
    assert 32 < memory[1] - memory[0] < 32 + 20


batches = st.integers(1, 4096)
numbers = st.integers(1, 1024)
devices = st.builds(Device, st.floats(1, 1e6), st.floats(0, 1))
links = st.builds(Link, st.floats(1e3, 1e12), st.floats(0, 1))
gradients = st.floats(1, 1e9)


@given(batches, numbers, gradients, devices, links, st.booleans())
def test_no_speed_up_beyond_the_number_of_devices(
    batch: int, n: int, gradient_bytes: float, device: Device, link: Link, overlap: bool
) -> None:
    for rule in (strong_speed_up, weak_speed_up):
        assert 0 < rule(batch, n, gradient_bytes, device, link, overlap) <= n * (1 + 1e-9)
        assert rule(batch, 1, gradient_bytes, device, link, overlap) == pytest.approx(1)


@given(batches, numbers, gradients, devices, st.booleans())
def test_a_free_exchange_is_ideal(batch: int, n: int, gradient_bytes: float, device: Device, overlap: bool) -> None:
    free = Link(float("inf"), 0)
    assert weak_speed_up(batch, n, gradient_bytes, device, free, overlap) == pytest.approx(n)
    unlaunched = Device(device.images_per_second)
    assert strong_speed_up(batch, n, gradient_bytes, unlaunched, free, overlap) == pytest.approx(n)


@given(batches, numbers, gradients, devices, links, st.floats(1, 1000), st.booleans())
def test_a_better_link_never_harms(
    batch: int, n: int, gradient_bytes: float, device: Device, link: Link, times: float, overlap: bool
) -> None:
    for better in (
        Link(link.bytes_per_second * times, link.latency_seconds),
        Link(link.bytes_per_second, link.latency_seconds / times),
    ):
        for rule in (strong_speed_up, weak_speed_up):
            with_it = rule(batch, n, gradient_bytes, device, better, overlap)
            assert with_it >= rule(batch, n, gradient_bytes, device, link, overlap) * (1 - 1e-9)


@given(batches, numbers, gradients, devices, links)
def test_exchange_during_the_backward_pass_saves_at_most_that_pass(
    batch: int, n: int, gradient_bytes: float, device: Device, link: Link
) -> None:
    after, during = (step_seconds(batch, n, gradient_bytes, device, link, overlap) for overlap in (False, True))
    assert -1e-9 * after <= after - during <= 2 / 3 * batch / device.images_per_second + 1e-9 * after


def test_the_ring_by_hand() -> None:
    # Four devices: three messages to add up, three to spread the sums, each a quarter of 80 MB over 10 GB/s.
    assert ring_seconds(4, 80e6, Link(10e9, 5e-6)) == pytest.approx(6 * (0.002 + 5e-6))
    assert ring_seconds(1, 80e6, Link(10e9, 5e-6)) == 0


@given(st.floats(1.01, 3.99), batches, gradients, st.booleans(), st.booleans())
def test_the_rate_that_gives_a_speed_up(
    speed_up: float, batch: int, gradient_bytes: float, weak: bool, overlap: bool
) -> None:
    link = Link(1e9, 1e-6)
    rate = rate_that_gives(speed_up, batch, 4, gradient_bytes, link, weak, overlap)
    rule = weak_speed_up if weak else strong_speed_up
    assert rule(batch, 4, gradient_bytes, Device(rate), link, overlap) == pytest.approx(speed_up, rel=1e-6)


def test_prediction_of_a_row(command: Command) -> None:
    done = command(
        *("bench", "predict", "--row", "shahrin_table2_row3", "--devices", "1", "2", "256", "--json", "-"),
        *("--images-per-second", "128", "--fixed-ms", "0", "--bandwidth", "1", "--latency", "0"),
    )
    assert done.status == 0, done.err
    found = json.loads(done.out)
    one, two, many = found["devices"]
    assert found["gradient_megabytes"] == pytest.approx(4 * 11_181_642 / 1e6)
    assert one == {"devices": 1, "strong": [1, 1], "weak": [1, 1]}
    exchange = 4 * 11_181_642 / 1e9  # two devices: each sends half of the bytes twice
    assert two["strong"] == pytest.approx([1 / (0.5 + exchange), 2])
    assert two["weak"] == pytest.approx([2 / (1 + exchange), 2])
    assert many["strong"] is None  # 128 images for 256 devices


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "0"], "--devices must be at least 1, not 0"),
        (["--bandwidth", "0"], "--bandwidth must be more than 0, not 0"),
        (["--images-per-second", "nan"], "--images-per-second must be more than 0, not nan"),
        (["--latency", "-1"], "--latency must be at least 0, not -1"),
        (["--row", "nonsense"], "There is no row nonsense"),
    ],
)
def test_bad_predictions(refuse: Refuse, arguments: list[str], words: str) -> None:
    given = ["--row", "ghugre_sequential", "--images-per-second", "1", "--bandwidth", "1", "--latency", "1"]
    assert words in refuse("bench", "predict", *given, *arguments)
