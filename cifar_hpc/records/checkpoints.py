"""The checkpoints of a run: which is the newest sound one, and what weights it holds. None of them can run code."""

import math
import os
import struct
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from cifar_hpc.collection.source import read_yaml
from cifar_hpc.collection.typed import build
from cifar_hpc.errors import UserError, check_deepspeed
from cifar_hpc.records.record import Point

_DEEPSPEEDS_CLASSES = (
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.utils.tensor_fragment.fragment_address",
)
"""What DeepSpeed's optimiser states name besides tensors: holders of numbers that do nothing on loading."""

_END = struct.Struct("<4s44xQ 4s4xQ4x 4s12xL2x")
"""How torch ends a zip file: signatures, where the directory begins, and where this end does (APPNOTE 4.3.14 to 16)."""

_TIED = 2**28
"""Bytes that a checkpoint's tensors may take beyond twice its file: weights that layers share are kept once."""


def load_data_alone() -> None:
    """Lets `torch.load` in this process make tensors and plain data, whoever calls it, and nothing that can run code.

    A pickle may name any function to be called. Lightning and DeepSpeed load with that allowed; torch's own switch
    forbids it to them too.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)


def newest_sound_checkpoint(folder: Path) -> Path | None:
    """Finds the checkpoint of a run's last whole epoch that can be read; passes over what is damaged or not ours.

    It is chosen by what it holds: a name is anybody's. None holds more epochs than the run was to train.
    """
    found = {path: _epochs_done(path) for path in sorted((folder / "checkpoints").glob("*.ckpt"))}
    most = _planned_epochs(folder)
    sound = [path for path, done in found.items() if 0 < done <= most]
    return max(sound, key=lambda path: (found[path], path.stat().st_mtime), default=None)


def _planned_epochs(folder: Path) -> float:
    """Reads how many epochs a run was to train; infinity where its settings do not say."""
    with suppress(UserError, AttributeError):
        epochs = read_yaml(folder / "config.yaml").get("trainer", {}).get("max_epochs")
        if type(epochs) is int and epochs > 0:
            return epochs
    return math.inf


def _epochs_done(checkpoint: Path) -> int:
    """Counts the epochs behind a checkpoint of ours, if it can be read whole and ends with an epoch; else 0."""
    parts = deepspeed_parts(checkpoint)
    files = sorted(checkpoint.rglob("*.pt")) if parts else [checkpoint]
    try:
        if parts:
            allow_deepspeeds_classes()
        contents = [_load(file) for file in files]
        sizes = {content["dp_world_size"] for content in contents if "dp_world_size" in content}
        if parts and (sizes != {parts} or _latest(checkpoint) != "checkpoint"):
            return 0
        content = next(content for content in contents if "callbacks" in content)
        curve = [build(Point, point) for point in content["callbacks"]["Recorder"]["curve"]]
        done = len(curve) if [point.epoch for point in curve] == list(range(1, len(curve) + 1)) else 0
        optimizers = [] if parts else content["optimizer_states"]
        sound = (parts or optimizers) and all({"state", "param_groups"} <= optimizer.keys() for optimizer in optimizers)
        return done if sound and done == content["epoch"] + 1 and "fit_loop" in content["loops"] else 0
    except Exception:  # what is damaged, or somebody else's, can raise nearly anything
        return 0


def _load(file: Path) -> Any:
    """Loads a file's tensors and plain data.

    Raises:
        ValueError: if it is no file of `torch.save`, which packs nothing, or would unfold to more than it is.
    """
    import torch

    _check_unpacked(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of pickles that it did not write, which are refused
        content = torch.load(file, map_location="cpu", weights_only=True)
    if _bytes_of_tensors(content) > 2 * file.stat().st_size + _TIED:
        raise ValueError("its tensors are far larger than itself")
    return content


def _check_unpacked(file: Path) -> None:
    """Refuses a file whose parts would take more memory than the file does on disk."""
    if not file.is_file():  # a pipe would be waited for
        raise ValueError("it is no file")
    with file.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        parts, directory = archive.infolist(), archive.start_dir
        end = opened.seek(-_END.size, os.SEEK_END)
        told = _END.unpack(opened.read())
    # Python looks for the directory where it should end, torch where three places say that it begins.
    if told != (b"PK\6\6", directory, b"PK\6\7", end, b"PK\5\6", directory if directory < 2**32 else 2**32 - 1):
        raise ValueError("its directory lies elsewhere than it says")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are packed, which torch.save does not do")
    if sum(part.file_size for part in parts) > file.stat().st_size:
        raise ValueError("its parts are larger than itself")


def _bytes_of_tensors(content: Any, seen: set[int] | None = None) -> int:
    """Counts the bytes that a checkpoint's tensors take if each is copied as float32: views may repeat what is stored.

    Args:
        content: of the checkpoint.
        seen: ids of what was counted: lists may hold each other again and again.
    """
    import torch

    seen = set() if seen is None else seen
    if id(content) in seen:
        return 0
    seen.add(id(content))
    if isinstance(content, torch.Tensor):
        return content.numel() * max(4, content.element_size())
    parts = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    return sum(_bytes_of_tensors(part, seen) for part in parts)


def allow_deepspeeds_classes() -> None:
    """Lets torch make the few classes of DeepSpeed that its checkpoints need, where it is installed."""
    import torch

    with suppress(ImportError):
        known = [name.rpartition(".") for name in _DEEPSPEEDS_CLASSES]
        torch.serialization.add_safe_globals([getattr(import_module(module), kind) for module, _, kind in known])


def _latest(checkpoint: Path) -> str:
    """Reads which subfolder DeepSpeed's file `latest` names, from which DeepSpeed loads."""
    file = checkpoint / "latest"
    return file.read_text().strip() if file.is_file() else "checkpoint"


def deepspeed_parts(checkpoint: Path) -> int:
    """Counts the processes whose optimiser states a DeepSpeed folder holds; 0 for any other checkpoint."""
    return len(list(checkpoint.glob("*/*optim_states.pt"))) if checkpoint.is_dir() else 0


def checkpoint_weights(checkpoint: Path) -> dict[str, Any]:
    """Reads the network's weights in a checkpoint, and joins the parts that DeepSpeed left with each process.

    Raises:
        UserError: if it is no checkpoint of ours, or DeepSpeed's and DeepSpeed is not installed.
    """
    parts = deepspeed_parts(checkpoint)
    if parts:
        check_deepspeed(f"The checkpoint {checkpoint}")
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    try:
        if parts:
            allow_deepspeeds_classes()
            for file in checkpoint.rglob("*.pt"):
                _check_unpacked(file)
            return dict(get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag="checkpoint"))
        weights: Mapping[str, Any] = _load(checkpoint)["state_dict"]
        # A network that torch.compile has wrapped names its weights so.
        return {name.replace("_orig_mod.", ""): weight for name, weight in weights.items()}
    except Exception as error:  # what is no checkpoint can raise nearly anything
        raise UserError(f"{checkpoint} is no checkpoint of `fit`, or is damaged") from error


def fit_weights(network: Any, weights: Mapping[str, Any], checkpoint: Path) -> None:
    """Gives a network the weights of a checkpoint.

    Raises:
        UserError: if they are another network's.
    """
    own = network.state_dict()
    odd = [f"has no {name}" for name in own if name not in weights]
    odd += [f"has {name}, which the network has not" for name in weights if name not in own]
    odd += [
        f"has {name} of shape {tuple(weights[name].shape)}, where the network's is {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and getattr(weights[name], "shape", None) != value.shape
    ]
    if odd:
        more = f", and differs in {len(odd) - 1} more" * (len(odd) > 1)
        raise UserError(f"{checkpoint} is not of this {type(network).__name__}: it {odd[0]}{more}")
    network.load_state_dict(weights)
