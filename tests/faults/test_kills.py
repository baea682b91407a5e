"""Kills at any point: the dataset is whole, and a run that is resumed ends in the same weights."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cifar_hpc.data import arrays
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.records.run_directory import status
from tests.conftest import SEQUENTIAL, record, same, weights
from tests.data.test_sources import write_binary
from tests.faults import numbers
from tests.faults.conftest import Ended, Faulty

EPOCHS = 3
BORDERS_OF_AN_IMPORT = 40
BORDERS_OF_A_RUN = 60
"""Borders of files that are passed on the way; a number beyond the last kills nothing."""


@pytest.fixture(scope="module")
def official(cifar10: CIFARArrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official") / "cifar-10-batches-bin"
    write_binary(cifar10, folder)
    return folder


def ended(done: Ended) -> bool:
    """Whether a command ended by itself; else it was killed."""
    if done.status == -signal.SIGKILL:
        return False
    assert done.check().status == 0, done.err
    return True


@pytest.mark.data
@pytest.mark.parametrize("number", numbers(50, sample=5))
def test_an_import_that_is_killed_leaves_a_whole_copy(
    number: int, official: Path, faulty: Faulty, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(arrays.data_root() / "cifar10", root / "cifar10")
    mine = root / ".cifar10-mybackup" / "mine"
    mine.parent.mkdir()
    mine.touch()
    flags = ("--dataset", "cifar10", "--root", root)
    border = 1 + random.Random(number).randrange(BORDERS_OF_AN_IMPORT)
    ended(faulty("data", "import", official, *flags, kill_at=border))
    assert arrays.load("cifar10", root).sha256() == arrays.load("cifar10").sha256()
    assert faulty("data", "import", official, *flags).check().status == 0
    assert arrays.load("cifar10", root).sha256() == arrays.load("cifar10").sha256()
    assert mine.exists()
    assert sorted(path.name for path in root.iterdir()) == [".cifar10-mybackup", ".cifar10.lock", "cifar10"]
    assert sorted(path.suffix for path in (root / "cifar10").iterdir()) == [".json", *[".npy"] * 4]


@pytest.mark.data
@pytest.mark.parametrize("number", numbers(10, sample=2))
def test_a_first_import_that_is_killed_leaves_a_whole_copy_or_none(
    number: int, official: Path, faulty: Faulty, tmp_path: Path
) -> None:
    flags = ("--dataset", "cifar10", "--root", tmp_path / "root")
    border = 1 + random.Random(number).randrange(BORDERS_OF_AN_IMPORT)
    whole = ended(faulty("data", "import", official, *flags, kill_at=border))
    stored = arrays.is_stored("cifar10", tmp_path / "root")
    assert stored or not whole
    if stored:
        arrays.load("cifar10", tmp_path / "root")
    assert faulty("data", "fetch" if stored else "import", *([] if stored else [official]), *flags).check().status == 0
    assert not [path for path in (tmp_path / "root").rglob(".*") if path.suffix != ".lock"]


@pytest.mark.data
def test_every_load_during_imports_succeeds(official: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(arrays.data_root() / "cifar10", root / "cifar10")
    line = [sys.executable, "-m", "cifar_hpc", "data", "import", str(official), "--dataset", "cifar10"]
    loads, imports = 0, 0
    while loads < 1000 or imports < 1:
        with subprocess.Popen([*line, "--root", str(root)], stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                arrays.load("cifar10", root, check=loads % 50 == 0)
                loads += 1
        assert process.returncode == 0
        imports += 1


def curve(folder: Path) -> list[dict[str, Any]]:
    """What was measured of each epoch, but for its seconds."""
    points = record(folder)["curve"]
    return [{key: value for key, value in point.items() if not key.endswith("seconds")} for point in points]


RUN = ["fit", *SEQUENTIAL, f"--trainer.max_epochs={EPOCHS}", "--trainer.threads", "1", "--run_dir", "run", "--resume"]


@pytest.fixture(scope="module")
def undisturbed(server: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([sys.executable, "-m", "cifar_hpc", *RUN], check=True, cwd=folder, capture_output=True)
    return folder / "run"


@pytest.mark.parametrize("number", numbers(100, sample=4))
def test_a_run_that_is_killed_goes_on_to_the_same_weights(
    number: int, undisturbed: Path, faulty: Faulty, tmp_path: Path
) -> None:
    rng = random.Random(number)
    run = tmp_path / "run"
    for _ in range(5):  # killed again while it goes on
        # It may be killed when the record is complete already, and then has nothing to resume.
        if ended(faulty(*RUN, kill_at=1 + rng.randrange(BORDERS_OF_A_RUN))) or status(run) == "complete":
            break
    else:
        assert ended(faulty(*RUN))
    assert record(run)["status"] == "complete"
    assert same(weights(run, EPOCHS), weights(undisturbed, EPOCHS))
    kept = [
        [
            {key: value for key, value in point.items() if not key.endswith("seconds")}
            for point in record(folder)["curve"]
        ]
        for folder in (run, undisturbed)
    ]
    assert kept[0] == kept[1]
    left = [path.name for path in run.rglob("*") if path.suffix == ".part" or path.name.startswith("tmp")]
    assert not left
