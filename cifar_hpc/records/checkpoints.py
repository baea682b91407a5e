"""The checkpoints of a run: which is the newest sound one, and what weights it holds. None of them can run code."""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from cifar_hpc.errors import UserError, check_deepspeed

_DEEPSPEEDS_CLASSES = (
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.utils.tensor_fragment.fragment_address",
)
"""What DeepSpeed's optimiser states name besides tensors: holders of numbers that do nothing on loading."""


def load_data_alone() -> None:
    """Lets `torch.load` in this process make tensors and plain data, whoever calls it, and nothing that can run code.

    A pickle may name any function to be called. Lightning and DeepSpeed load with that allowed; torch's own switch
    forbids it to them too.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)


def newest_sound_checkpoint(folder: Path) -> Path | None:
    """Finds the checkpoint of a run's last whole epoch that can be read; passes over what is damaged or not ours.

    It is chosen by what it holds: a name is anybody's.
    """
    found = {path: done for path in sorted((folder / "checkpoints").glob("*.ckpt")) if (done := _epochs_done(path))}
    return max(found, key=lambda path: (found[path], path.stat().st_mtime), default=None)


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
        done = len(content["callbacks"]["Recorder"]["curve"])
        optimizers = [] if parts else content["optimizer_states"]
        sound = (parts or optimizers) and all({"state", "param_groups"} <= optimizer.keys() for optimizer in optimizers)
        return done if sound and done == content["epoch"] + 1 and "fit_loop" in content["loops"] else 0
    except Exception:  # what is damaged, or somebody else's, can raise nearly anything
        return 0


def _load(file: Path) -> Any:
    """Loads a file's tensors and plain data."""
    import torch

    return torch.load(file, map_location="cpu", weights_only=True)


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
