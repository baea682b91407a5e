"""Disks that are full, or may only be read: one sentence, and what was there before is as it was."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cifar_hpc.data import arrays
from tests.conftest import SEQUENTIAL, record
from tests.data.test_sources import write_binary
from tests.faults.conftest import Ended, Faulty

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a file system of so many kilobytes, which needs root."""
    made: list[Path] = []

    def mount(kilobytes: int) -> Path:
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("a file system can only be mounted by root")
        made.append(place)
        return place

    yield mount
    for place in made:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def fill(place: Path, left: int) -> None:
    """Leaves so many bytes of a disk."""
    free = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part" and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(ended: Ended) -> str:
    assert ended.check().status == 2, ended.err
    told = [line for line in ended.err.splitlines() if line.startswith("cifar_hpc: ")]
    assert len(told) == 1, ended.err
    assert "No space left" in told[0] or "Read-only" in told[0] or "File too large" in told[0]
    return told[0]


@pytest.mark.parametrize("free", [0, 60_000, 2_000_000])
def test_fit_on_a_full_disk(free: int, disk: Disk, faulty: Faulty) -> None:
    place = disk(4_000)
    fill(place, free)
    flags = ["fit", *SEQUENTIAL, "--trainer.max_epochs=3", "--run_dir", place / "run", "--resume"]
    told = refused(faulty(*flags))
    assert str(place / "run") in told
    run = place / "run"
    for file in run.rglob("*"):
        assert not file.is_file() or file.name == ".lock" or file.stat().st_size > 0 or "events" in file.name, file
    (place / "filler").unlink()
    remount(place, "size=100000k")
    assert faulty(*flags).check().status == 0
    assert record(run)["status"] == "complete"


def test_a_disk_that_fills_up_leaves_what_was_there(disk: Disk, faulty: Faulty) -> None:
    place = disk(100_000)
    flags = ["fit", *SEQUENTIAL, "--run_dir", place / "run", "--resume"]
    assert faulty(*flags, "--trainer.max_epochs=6", kill_at=40).status < 0
    for part in (place / "run").rglob("*.part"):  # of the process that was killed; its space would be some to use
        part.unlink()
    before = digests(place / "run")
    assert any(name.endswith(".ckpt") for name in before)
    fill(place, 0)
    told = refused(faulty(*flags, "--trainer.max_epochs=6"))
    assert "--resume" in told
    after = digests(place / "run")
    assert {name: after[name] for name in before if "events" not in name} == {
        name: digest for name, digest in before.items() if "events" not in name
    }
    (place / "filler").unlink()
    assert faulty(*flags, "--trainer.max_epochs=6").check().status == 0


def test_resume_where_nothing_can_be_written(disk: Disk, faulty: Faulty) -> None:
    place = disk(100_000)
    flags = ["fit", *SEQUENTIAL, "--run_dir", place / "run", "--resume", "--trainer.max_epochs=6"]
    assert faulty(*flags, kill_at=40).status < 0
    before = digests(place / "run")
    remount(place, "ro")
    refused(faulty(*flags))
    remount(place, "rw")
    assert digests(place / "run") == before


def test_outputs_on_a_full_disk(disk: Disk, faulty: Faulty, finished_run: Path) -> None:
    place = disk(1_000)
    shutil.copytree(finished_run, place.parent / "run")
    for name in ("predictions.npz", "rows.json", "junit.xml", "page.md"):
        (place / name).write_text("before")
    fill(place, 0)
    (place / "predictions.npz").rename(place / "kept.npz")
    refused(faulty("predict", *SEQUENTIAL, "--run_dir", place.parent / "run", "--output", place / "predictions.npz"))
    assert not (place / "predictions.npz").exists()
    refused(faulty("rows", "--json", place / "rows.json"))
    refused(faulty("rows", "--origins", place / "page.md"))
    refused(faulty("verify", place.parent / "run", "--junit", place / "junit.xml"))
    refused(faulty("report", "--out", place / "report"))
    for name in ("rows.json", "junit.xml", "page.md", "kept.npz"):
        assert (place / name).read_text() == "before"


@pytest.mark.data
@pytest.mark.parametrize("free", [0, 60_000, 2_000_000, 160_000_000])
def test_an_import_on_a_full_disk(free: int, disk: Disk, faulty: Faulty, tmp_path: Path) -> None:
    write_binary(arrays.load("cifar10", check=False), tmp_path / "bin")
    place = disk(200_000)
    fill(place, free)
    refused(faulty("data", "import", tmp_path / "bin", "--dataset", "cifar10", "--root", place / "root"))
    left = digests(place / "root") if (place / "root").exists() else {}
    assert set(left) <= {".cifar10.lock"}


def test_a_limit_on_files_is_a_full_disk_too(faulty: Faulty, tmp_path: Path) -> None:
    flags = ["fit", *SEQUENTIAL, "--trainer.max_epochs=2", "--run_dir", "run", "--resume"]
    refused(faulty(*flags, largest_file=100_000))
    assert not list((tmp_path / "run").rglob("*.part"))
    assert faulty(*flags).check().status == 0


def test_output_that_cannot_be_written_is_told(faulty: Faulty) -> None:
    refused(faulty("rows", output="/dev/full"))
