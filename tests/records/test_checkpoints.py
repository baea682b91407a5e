"""Checkpoints are chosen by what they hold, told when they do not fit, and run no code."""

import os
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_hpc.records.checkpoints import checkpoint_weights, newest_sound_checkpoint
from tests.conftest import SEQUENTIAL, Command, record

EPOCHS = "--trainer.max_epochs=3"


class Code:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A run of three epochs that stopped before its test."""
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    text = (folder / "result.json").read_text().replace('"status": "complete"', '"status": "partial"')
    (folder / "result.json").write_text(text)
    return folder


def plant_raw_pickle(folder: Path, marker: Path) -> None:
    (folder / "checkpoints" / "epoch0099.ckpt").write_bytes(pickle.dumps(Code(marker)))


def plant_in_a_real_one(folder: Path, marker: Path) -> None:
    content = torch.load(folder / "checkpoints" / "epoch0003.ckpt", weights_only=True)
    torch.save(content | {"epoch": 98, "evil": Code(marker)}, folder / "checkpoints" / "epoch0099.ckpt")


def plant_in_a_deepspeed_folder(folder: Path, marker: Path) -> None:
    inner = folder / "checkpoints" / "epoch0099.ckpt" / "checkpoint"
    inner.mkdir(parents=True)
    torch.save({"dp_world_size": 1, "evil": Code(marker)}, inner / "x_optim_states.pt")


COMMANDS: dict[str, tuple[str, ...]] = {
    "fit": ("fit", "--resume"),
    "test": ("test",),
    "validate": ("validate",),
    "predict": ("predict", "--output", "answers.npz"),
}


@pytest.mark.parametrize("plant", [plant_raw_pickle, plant_in_a_real_one, plant_in_a_deepspeed_folder])
def test_a_checkpoint_runs_no_code(
    plant: Callable[[Path, Path], None], run: Path, command: Command, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    plant(run, marker)
    hostile = run / "checkpoints" / "epoch0099.ckpt"
    for name in ("test", "validate", "predict", "fit"):
        verb, *flags = COMMANDS[name]
        done = command(verb, *SEQUENTIAL, EPOCHS, *flags, "--run_dir", run)
        assert done.status == 0, done.err
        assert "epoch0099" not in done.out + done.err
    for name in ("test", "validate"):
        told = command(name, *SEQUENTIAL, EPOCHS, "--ckpt_path", hostile).sentence()
        assert str(hostile) in told
    assert not marker.exists()


def test_the_newest_is_chosen_by_what_it_holds(run: Path) -> None:
    folder = run / "checkpoints"
    # A user's ModelCheckpoint names files as it likes, and writes some in the middle of an epoch.
    shutil.copy(folder / "epoch0002.ckpt", folder / "zzz-step=1.ckpt")
    content = torch.load(folder / "epoch0003.ckpt", weights_only=True)
    torch.save(content | {"epoch": 3}, folder / "zzzz-middle.ckpt")
    newest = newest_sound_checkpoint(run)
    assert newest is not None
    assert newest.name == "epoch0003.ckpt"


def _longer(content: dict[str, Any], epochs: int, point: dict[str, Any]) -> dict[str, Any]:
    kept = content["callbacks"]["Recorder"] | {"curve": [point] * epochs}
    return content | {"epoch": epochs - 1, "callbacks": content["callbacks"] | {"Recorder": kept}}


def _doubled(content: list[Any], times: int) -> list[Any]:
    return content if times == 0 else _doubled([content, content], times - 1)


def _packed(path: Path) -> None:
    """Packs a checkpoint of ours with a gigabyte of zeros, in a megabyte."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open("more", "w") as more:
            for _ in range(64):
                more.write(bytes(2**24))


def _old_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}}, protocol=5))


def _two_directories(path: Path) -> None:
    """Hides a packed part behind a directory that torch reads, and Python does not."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    _packed(path)
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    with zipfile.ZipFile(path.with_suffix(".plain"), "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    plain = path.with_suffix(".plain").read_bytes()
    with zipfile.ZipFile(path.with_suffix(".plain")) as archive:
        second = plain[archive.start_dir : plain.rindex(b"PK\x05\x06")]
    path.with_suffix(".plain").unlink()
    size, offset = struct.unpack("<LL", content[end + 12 : end + 20])
    padded = second + bytes(max(0, size - len(second)))
    path.write_bytes(
        content[:end] + padded + content[end : end + 12] + struct.pack("<LL", len(padded), offset) + content[end + 20 :]
    )


def _another_end(path: Path) -> None:
    """Has the place from which torch finds the directory name another."""
    content = bytearray(path.read_bytes())
    content[-34:-26] = struct.pack("<Q", 0)
    path.write_bytes(content)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [_packed, _old_pickle, _two_directories, _another_end, _pipe])
def test_what_torch_did_not_write_is_passed_over_in_silence(
    spoil: Callable[[Path], None], run: Path, command: Command, tmp_path: Path
) -> None:
    path = run / "checkpoints" / "epoch0003.ckpt"
    spoil(path)
    tracemalloc.start()
    newest = newest_sound_checkpoint(run)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    assert newest is not None
    assert newest.name == "epoch0002.ckpt"
    assert str(path) in command("test", *SEQUENTIAL, EPOCHS, "--ckpt_path", path).sentence()


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a mapping of nothing": lambda content: {},
    "a list": lambda content: [1],
    "weights alone": lambda content: content["state_dict"],
    "no optimiser": lambda content: content | {"optimizer_states": []},
    "an optimiser without a state": lambda content: content | {"optimizer_states": [{}]},
    "an optimiser that is a number": lambda content: content | {"optimizer_states": [1]},
    "no progress": lambda content: content | {"loops": {}},
    "more epochs than were to be trained": lambda content: _longer(
        content, 4, {**content["callbacks"]["Recorder"]["curve"][0]}
    ),
    "epochs of nothing": lambda content: _longer(content, 3, {}),
    "the same epoch twice": lambda content: _longer(content, 2, {**content["callbacks"]["Recorder"]["curve"][0]}),
    "lists without end": lambda content: content | {"more": _doubled([0], 40), "epoch": 99},
    "bytes that become numbers": lambda content: content | {"more": torch.zeros(1, dtype=torch.uint8).expand(2**28)},
    "a tensor without end": lambda content: content | {"more": torch.zeros(1).expand(2**40)},
    "no callbacks": lambda content: {key: value for key, value in content.items() if key != "callbacks"},
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_checkpoint_of_a_run_is_passed_over(name: str, run: Path) -> None:
    content = torch.load(run / "checkpoints" / "epoch0003.ckpt", weights_only=True)
    torch.save(ODD[name](content), run / "checkpoints" / "epoch0003.ckpt")
    newest = newest_sound_checkpoint(run)
    assert newest is not None
    assert newest.name == "epoch0002.ckpt"


def extra(weights: dict[str, torch.Tensor]) -> None:
    weights["more.weight"] = torch.zeros(1)


def missing(weights: dict[str, torch.Tensor]) -> None:
    del weights["conv1.weight"]


def another_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["conv1.weight"] = torch.zeros(1, 3, 3, 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (extra, "it has more.weight, which the network has not"),
        (missing, "it has no conv1.weight"),
        (another_shape, "it has conv1.weight of shape (1, 3, 3, 3), where the network's is (32, 3, 3, 3)"),
    ],
)
@pytest.mark.parametrize("verb", ["test", "fit"])
def test_weights_that_do_not_fit_are_told(
    verb: str, change: Callable[[dict[str, torch.Tensor]], None], told: str, run: Path, command: Command
) -> None:
    path = run / "checkpoints" / "epoch0003.ckpt"
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)
    before = record(run)
    resume = ["--resume"] if verb == "fit" else []
    sentence = command(verb, *SEQUENTIAL, EPOCHS, *resume, "--run_dir", run).sentence()
    assert told in sentence
    assert "is not of this SmallCNN" in sentence
    assert record(run) == before


def without_groups(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"] = []


def without_times(content: dict[str, Any]) -> None:
    del content["callbacks"]["Recorder"]["fit_seconds"]


def without_progress(content: dict[str, Any]) -> None:
    content["loops"]["fit_loop"] = {"epoch_progress": 1}


@pytest.mark.parametrize("change", [without_groups, without_times, without_progress])
def test_a_checkpoint_that_cannot_be_gone_on_from_is_told_and_nothing_is_changed(
    change: Callable[[dict[str, Any]], None], run: Path, command: Command
) -> None:
    path = run / "checkpoints" / "epoch0003.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    before = record(run)["curve"]
    done = command("fit", *SEQUENTIAL, EPOCHS, "--resume", "--run_dir", run)
    assert done.status == 2, done.err
    assert f"{path} does not fit this run" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert record(run)["curve"] == before


def test_weights_of_a_compiled_network_are_taken(run: Path, tmp_path: Path) -> None:
    path = run / "checkpoints" / "epoch0003.ckpt"
    content = torch.load(path, weights_only=True)
    plain = content["state_dict"]
    compiled = content | {"state_dict": {f"_orig_mod.{name}": weight for name, weight in plain.items()}}
    torch.save(compiled, tmp_path / "compiled.ckpt")
    found = checkpoint_weights(tmp_path / "compiled.ckpt")
    assert found.keys() == plain.keys()
