"""`doctor` on this machine, with data and without."""

import json
from pathlib import Path

import pytest

from cifar_hpc.cli import main
from cifar_hpc.data import arrays
from cifar_hpc.machine import usable_cores


def test_a_root_without_datasets_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "nothing here"
    assert main(["doctor", "--root", str(root)]) == 1
    told = capsys.readouterr().out
    for name in ("cifar10", "cifar100"):
        problem = (
            f"there is no {name} under {root}; run `python -m cifar_hpc data fetch --dataset {name} --root '{root}'`"
        )
        assert problem in told
    assert not root.exists()


def test_the_json_has_what_this_machine_offers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json", "-", "--root", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] == usable_cores()
    assert found["data"] == {"cifar10": "not fetched", "cifar100": "not fetched"}
    assert len(found["problems"]) >= 2


@pytest.mark.data
@pytest.mark.usefixtures("cifar10")
def test_one_dataset_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cifar10").symlink_to(arrays.data_root() / "cifar10")
    main(["doctor", "--json", "-", "--root", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["data"] == {"cifar10": "sound", "cifar100": "not fetched"}
    assert not [problem for problem in found["problems"] if "cifar" in problem]
