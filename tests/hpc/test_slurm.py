"""A real Slurm on this machine: srun, requeue and the time limit."""

import itertools
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import REPRODUCTIONS, ROOT, Command, record, same, wait_for, weights
from tests.hpc.conftest import CLUSTER, Launch, losses, needs

pytestmark = pytest.mark.cluster

CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SchedulerParameters=batch_sched_delay=1,sched_interval=2
KillWait=20
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Starts munged, slurmctld and slurmd on free ports of this machine, and stops them."""
    needs("munged", "slurmctld", "slurmd", "srun", "sbatch")
    if os.getuid() != 0:
        pytest.skip("Slurm's daemons are started as root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, ports=free_ports(2), cores=max(2, os.cpu_count() or 1))
    )
    munge = folder / "munge"
    os.environ["SLURM_CONF"] = str(configuration)
    commands = [
        ["munged", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key", f"--pid-file={munge}/pid",
         f"--log-file={munge}/log", f"--seed-file={munge}/seed"],
        ["slurmctld", "-f", str(configuration)],
        ["slurmd", "-f", str(configuration), "-N", "localhost"],
    ]  # fmt: skip
    try:
        for command in commands:
            subprocess.run(command, check=True)
        wait_for(lambda: "idle" in output("sinfo", "-h", "-o", "%T"))
        yield
    finally:
        for pid_file in (folder / "slurmd.pid", folder / "slurmctld.pid", munge / "pid"):
            with suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
        del os.environ["SLURM_CONF"]


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Job:
    """A job of configs/slurm/cpu.sbatch on the sample."""

    def __init__(self, flags: list[str], *options: str) -> None:
        script = ROOT / "configs" / "slurm" / "cpu.sbatch"
        self.log = Path.cwd() / "job.log"
        line = ["sbatch", "--parsable", f"--output={self.log}", *options, str(script), "ghugre_sequential", *flags]
        self.number = output(*line).strip()
        self.folder = Path.cwd() / "runs" / "ghugre_sequential" / f"slurm-{self.number}"

    def state(self) -> str:
        found = output("scontrol", "show", "job", self.number)
        return found.partition("JobState=")[2].split()[0]

    def finish(self) -> None:
        wait_for(lambda: self.state() in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"))
        assert self.state() == "COMPLETED", self.log.read_text()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which the script finds the rows and overlays, and jobs write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHON", sys.executable)
    for name in ("reproductions", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)


SRUN = ["srun", "--ntasks-per-node=2", sys.executable, "-m", "cifar_hpc"]


@pytest.mark.parametrize("network", ["SmallCNN", "ResNet18"])
def test_srun_ends_in_the_same_bits(
    network: str, plain_sgd: list[str], resnet18: list[str], launch: Launch, tmp_path: Path
) -> None:
    flags = plain_sgd if network == "SmallCNN" else resnet18
    done = launch(*SRUN, "fit", *flags, *CLUSTER, "--run_dir", "srun")
    assert done.status == 0, done.err
    ddp = ROOT / "configs" / "cpu_ddp2.yaml"
    done = launch(sys.executable, "-m", "cifar_hpc", "fit", *flags, "-c", ddp, "--run_dir", "ddp")
    assert done.status == 0, done.err
    assert same(weights(tmp_path / "srun", 3), weights(tmp_path / "ddp", 3))
    assert losses(tmp_path / "srun") == losses(tmp_path / "ddp")
    assert record(tmp_path / "srun")["dataset"]["test_images"] == 200


@pytest.mark.data
@pytest.mark.usefixtures("cifar10")
def test_srun_tests_all_10000_images_once(finished_run: Path, command: Command, launch: Launch) -> None:
    row = ["-c", str(REPRODUCTIONS / "ghugre_sequential.yaml"), "--run_dir", str(finished_run)]
    one = command("test", *row)
    assert one.status == 0, one.err
    assert "test (10000 images" in one.out
    done = launch(*SRUN, "test", *row, *CLUSTER)
    assert done.status == 0, done.err
    assert done.out == one.out


def test_mismatched_tasks_are_told(plain_sgd: list[str], launch: Launch) -> None:
    done = launch("srun", "-n", "2", sys.executable, "-m", "cifar_hpc", "fit", *plain_sgd)
    assert done.status == 2, done.err
    told = [line for line in done.err.splitlines() if line.startswith("cifar_hpc: ")]
    assert len(told) == 1, done.err
    assert "srun started 2 processes, but trainer.devices 1" in told[0]


def seconds_per_epoch(run: Path) -> float:
    """From checkpoint to checkpoint, the quickest, so that no pause of the machine counts."""
    written = sorted(file.stat().st_mtime for file in (run / "checkpoints").glob("epoch*.ckpt"))
    return min(later - earlier for earlier, later in itertools.pairwise(written))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("disturbance", ["requeue", "signal", "time limit"])
def test_a_disturbed_job_ends_as_an_undisturbed_one(disturbance: str, launch: Launch, tmp_path: Path) -> None:
    fit = ["fit", "-c", "reproductions/ghugre_sequential.yaml", *CLUSTER]
    flags = ["--data.sample=true", "--trainer.deterministic=true"]
    limit, epochs = [], 80
    if disturbance == "time limit":
        # Slurm's least limit and its warning before it leave a minute, or a little less: half as much again is too
        # long, and what an epoch takes is this machine's.
        limit = ["--time=2", "--signal=USR1@60"]
        done = launch(*SRUN, *fit, *flags, "--trainer.max_epochs=12", "--run_dir", "measured")
        assert done.status == 0, done.err
        epochs = math.ceil(90 / seconds_per_epoch(tmp_path / "measured"))
    flags.append(f"--trainer.max_epochs={epochs}")
    job = Job(flags, *limit)
    if disturbance != "time limit":
        wait_for((job.folder / "checkpoints" / "epoch0005.ckpt").exists)
        if disturbance == "requeue":
            output("scontrol", "requeue", job.number)
        else:
            output("scancel", "--signal=USR1", job.number)
    job.finish()
    assert "resuming from epoch" in job.log.read_text()
    if disturbance != "requeue":
        assert f"Slurm runs job {job.number} again" in job.log.read_text()
    done = launch(*SRUN, *fit, *flags, "--run_dir", "whole")
    assert done.status == 0, done.err
    assert same(weights(tmp_path / "whole", epochs), weights(job.folder, epochs))
    assert record(tmp_path / "whole")["selection"] == record(job.folder)["selection"]


@pytest.mark.usefixtures("workplace")
def test_an_array_runs_every_row_with_every_seed(tmp_path: Path) -> None:
    script = ROOT / "configs" / "slurm" / "array.sbatch"
    flags = ["-c", "configs/cpu.yaml", "-c", "configs/smoke.yaml"]
    number = output("sbatch", "--parsable", "--wait", "--cpus-per-task=1", f"--output={tmp_path}/job-%a.log",
        "--array=0-3", str(script), "ghugre_sequential ghugre_parallel", "3 5", *flags,
    ).strip()  # fmt: skip
    for row in ("ghugre_sequential", "ghugre_parallel"):
        for seed in (3, 5):
            found = record(tmp_path / "runs" / row / f"slurm-{number}-seed{seed}")
            assert (found["row"], found["seed"], found["status"]) == (row, seed, "complete")
