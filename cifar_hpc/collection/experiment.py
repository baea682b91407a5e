"""What of a configuration makes the experiment, and what only says where and how fast it runs."""

from typing import Any

_EXPERIMENT_TRAINER_KEYS = {
    "accumulate_grad_batches",
    "callbacks",
    "check_val_every_n_epoch",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_test_batches",
    "limit_train_batches",
    "limit_val_batches",
    "max_epochs",
    "max_steps",
    "max_time",
    "min_epochs",
    "min_steps",
    "overfit_batches",
    "sync_batchnorm",
    "val_check_interval",
}
"""Trainer flags that belong to the experiment; all others say where and how fast it runs."""

_ENGINE_DATA_KEYS = {"root", "num_workers", "eval_batch_size", "pipeline", "source"}
"""Arguments of the DataModule that change no result."""

_ENGINE_OPTIMIZER_KEYS = {"fused", "foreach"}
"""Arguments of torch's optimisers that choose between implementations of one step."""

_MODELS_THAT_LOOK_AT_THE_END = {"cifar_hpc.models.Airbench"}
"""Networks whose schedule is laid over all planned epochs."""


def experiment(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that make the experiment, flat, without those that say where and how fast it runs."""
    settings = flat({key: value for key, value in config.items() if key != "seed_everything"})

    def belongs(key: str) -> bool:
        group, _, rest = key.partition(".")
        if group == "trainer":
            return rest in _EXPERIMENT_TRAINER_KEYS
        if group == "model" and "optimizer.init_args." in key:
            return rest.rpartition(".")[2] not in _ENGINE_OPTIMIZER_KEYS
        return not (group == "data" and rest in _ENGINE_DATA_KEYS)

    return {key: value for key, value in settings.items() if belongs(key)}


def kind_of_experiment(config: dict[str, Any]) -> Any:
    """What rows have in common that train the same network in the same way, if perhaps for another number of epochs.

    The shorter run is then the beginning of the longer one. Networks and schedules that look at the number of planned
    epochs are shared by rows of the same number only.

    Args:
        config: of a row, as its file has it.

    Returns:
        Something that can be compared and looked up.
    """
    settings = experiment({key: value for key, value in config.items() if key != "reproduction"})
    epochs = settings.pop("trainer.max_epochs", None)
    return _frozen(settings), epochs if _looks_at_the_end(settings) else None


def _frozen(value: Any) -> Any:
    """Plain data as something that can be looked up by."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(part)) for key, part in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _looks_at_the_end(settings: dict[str, Any]) -> bool:
    """Whether the learning rate may depend on how many epochs are planned: torch's own schedules cannot see that."""
    schedule = settings.get("model.init_args.scheduler.class_path") or settings.get("model.init_args.scheduler")
    torchs_own = schedule is None or str(schedule).startswith("torch.optim.lr_scheduler.")
    return not torchs_own or settings.get("model.class_path") in _MODELS_THAT_LOOK_AT_THE_END


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    """Keys whose values differ, with both values."""
    keys = [*first, *(key for key in second if key not in first)]
    return {key: [first.get(key), second.get(key)] for key in keys if first.get(key) != second.get(key)}


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists stay values."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {
        key: value
        for name, inner in config.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }
