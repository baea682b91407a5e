"""Two hosts, as two network namespaces with addresses of their own; one of them dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HANGING, record, same, wait_for, weights
from tests.hpc.conftest import CLUSTER, Start, needs

pytestmark = pytest.mark.cluster

EPOCHS = 60


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Names of two namespaces, 10.77.0.1 and 10.77.0.2, joined by a cable."""
    needs("ip")
    names = [f"cifar{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for number, name in enumerate(names, start=1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    yield names
    for name in names:
        kill_all(name)
        subprocess.run(["ip", "netns", "delete", name], check=False)


def kill_all(host: str) -> None:
    for pid in subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def start_both(start: Start, hosts: list[str], flags: list[str]) -> list["subprocess.Popen[str]"]:
    return [
        start("ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", "--nnodes=2",
            f"--node-rank={number}", "--nproc-per-node=1", "--master-addr=10.77.0.1", "--master-port=29501",
            "-m", "cifar_hpc", "fit", *flags, *CLUSTER, env={"GLOO_SOCKET_IFNAME": "cable"},
        )
        for number, host in enumerate(hosts)
    ]  # fmt: skip


@pytest.mark.parametrize("dies", [0, 1], ids=["first", "second"])
def test_a_dead_host_ends_the_other_and_the_run_goes_on(
    dies: int, plain_sgd: list[str], hosts: list[str], start: Start, tmp_path: Path
) -> None:
    flags = [*plain_sgd, f"--trainer.max_epochs={EPOCHS}", "--resume", "--run_dir"]
    both = start_both(start, hosts, [*flags, "run"])
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch0003.ckpt"
    wait_for(lambda: checkpoint.exists() or any(process.poll() is not None for process in both))
    ip("-n", hosts[dies], "link", "set", "cable", "down")  # a dead host closes no connection
    kill_all(hosts[dies])
    out, err = both[1 - dies].communicate(timeout=600)  # after 45 s; torch itself waits for 1800 s
    assert both[1 - dies].returncode != 0
    assert "lost contact with another one" in err, out + err
    assert "--run_dir run --resume" in err
    assert record(tmp_path / "run")["epochs"]["done"] < EPOCHS

    ip("-n", hosts[dies], "link", "set", "cable", "up")
    for folder in ("run", "whole"):
        for process in start_both(start, hosts, [*flags, folder]):
            out, err = process.communicate(timeout=HANGING)
            assert process.returncode == 0, err
    assert same(weights(tmp_path / "whole", EPOCHS), weights(tmp_path / "run", EPOCHS))
    assert record(tmp_path / "whole")["selection"] == record(tmp_path / "run")["selection"]
