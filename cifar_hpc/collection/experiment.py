"""What of a configuration makes the experiment, and what only says where and how fast it runs."""

import json
from typing import Any

_ENGINE_TRAINER_KEYS = {
    # where a run happens
    *("accelerator", "devices", "num_nodes", "strategy", "threads", "default_root_dir"),
    # how its numbers are computed, up to rounding
    *("precision", "kernels", "benchmark", "deterministic", "inference_mode"),
    # what is shown and kept of it
    *("enable_checkpointing", "enable_model_summary", "enable_progress_bar", "logger", "log_every_n_steps"),
    *("enable_autolog_hparams", "model_registry", "profiler", "detect_anomaly"),
    # what lies outside training: batches before it, whose random numbers Lightning sets apart, and `predict`
    *("num_sanity_val_steps", "limit_predict_batches"),
}
"""Trainer flags that change no result. All others are the experiment: a new one is, until it is shown not to be."""

_ENGINE_CLASSES = {
    "callbacks": {
        *("DeviceStatsMonitor", "LearningRateMonitor", "ThroughputMonitor", "ModelSummary", "RichModelSummary"),
        *("TQDMProgressBar", "RichProgressBar", "ModelCheckpoint", "OnExceptionCheckpoint"),
    },
    "plugins": {"AsyncCheckpointIO", "TorchCheckpointIO", "XLACheckpointIO"},
}
"""Lightning's callbacks and plugins that look on, or say how files are written. All others may train another way:
accumulate, average, freeze, prune, round, or stop."""

_STRATEGIES = "lightning.pytorch.strategies."
_ENGINE_STRATEGY_KEYS = {
    # where its processes run and how they find each other
    *("accelerator", "parallel_devices", "cluster_environment", "process_group_backend", "timeout", "start_method"),
    *("checkpoint_io", "device_mesh", "device"),
    # DDP: how gradients travel
    *("bucket_cap_mb", "find_unused_parameters", "gradient_as_bucket_view", "static_graph"),
    # DeepSpeed and FSDP: what lies where, and what is computed again
    *("zero_optimization", "stage", "remote_device", "offload_optimizer", "offload_parameters", "nvme_path"),
    *("offload_params_device", "offload_optimizer_device", "params_buffer_count", "params_buffer_size", "max_in_cpu"),
    *("optimizer_buffer_count", "block_size", "queue_depth", "single_submit", "overlap_events", "thread_count"),
    *("pin_memory", "sub_group_size", "contiguous_gradients", "overlap_comm", "allgather_partitions", "reduce_scatter"),
    *("allgather_bucket_size", "reduce_bucket_size", "partition_activations", "cpu_checkpointing"),
    *("contiguous_memory_optimization", "synchronize_checkpoint_boundary", "load_full_weights"),
    *("exclude_frozen_parameters", "cpu_offload", "auto_wrap_policy", "activation_checkpointing"),
    *("activation_checkpointing_policy", "sharding_strategy", "state_dict_type", "zero_allow_untested_optimizer"),
    # how float16 is kept from vanishing, and what is told
    *("mixed_precision", "loss_scale", "initial_scale_power", "loss_scale_window", "hysteresis", "min_loss_scale"),
    *("logging_batch_size_per_gpu", "logging_level"),
}
"""Arguments of Lightning's strategies that change no result; hooks that change gradients, and DeepSpeed's own
configuration, with its optimiser and clipping, are the experiment."""

_ENGINE_DATA_KEYS = {"root", "num_workers", "eval_batch_size", "pipeline", "source"}
"""Arguments of the DataModule that change no result."""

_ENGINE_OPTIMIZER_KEYS = {"fused", "foreach"}
"""Arguments of torch's optimisers that choose among kernels for the same steps."""

_ENDS = ("trainer.max_time", "trainer.max_steps")
"""Settings that only end a run, as a signal does; its record is partial then."""

_MODELS_THAT_LOOK_AT_THE_END = {"cifar_hpc.models.Airbench"}
"""Networks whose schedule is laid over all planned epochs."""


def experiment(config: dict[str, Any]) -> dict[str, Any]:
    """Picks the settings that make the experiment, flat, without those that say where and how fast it runs."""
    settings = {key: value for key, value in config.items() if key != "seed_everything"}
    if isinstance(trainer := settings.get("trainer"), dict):
        acting = {group: _acting(trainer[group], group) for group in _ENGINE_CLASSES if group in trainer}
        settings["trainer"] = {key: acting.get(key, value) for key, value in trainer.items() if acting.get(key) != []}
    # A group of which nothing is left, `flat` keeps as a key.
    return {key: value for key, value in flat(settings).items() if key != "trainer" and not _is_engine(key, value)}


def _is_engine(key: str, value: Any) -> bool:
    """Checks whether a setting, its key with dots, says only where and how fast a run happens."""
    group, *rest = key.split(".")
    if group == "trainer" and rest[:2] == ["strategy", "class_path"]:
        return str(value).startswith(_STRATEGIES)
    if group == "trainer" and rest[:1] == ["strategy"] and len(rest) > 2:
        return value is None or rest[2] in _ENGINE_STRATEGY_KEYS
    if group == "trainer":
        return bool(rest) and rest[0] in _ENGINE_TRAINER_KEYS
    if group == "data":
        return bool(rest) and rest[0] in _ENGINE_DATA_KEYS
    return group == "model" and "optimizer.init_args." in key and rest[-1] in _ENGINE_OPTIMIZER_KEYS


def _acting(items: Any, group: str) -> list[Any]:
    """Picks those of `trainer.callbacks` or `.plugins`, which may be one or several, that may change a result."""
    several = items if isinstance(items, list) else [items] if items else []
    return [item for item in several if not _looks_on(item, group)]


def _looks_on(item: Any, group: str) -> bool:
    """Checks whether an item of `trainer.callbacks` or `.plugins`, alone or with arguments, changes no result."""
    path = str(item.get("class_path") if isinstance(item, dict) else item)
    package, _, name = path.rpartition(".")
    # Lightning's names stand in the module that defines them, too.
    theirs = tuple(f"lightning.{library}.{group}." for library in ("pytorch", "fabric"))
    return f"{package}.".startswith(theirs) and name in _ENGINE_CLASSES[group]


def kind_of_experiment(config: dict[str, Any]) -> Any:
    """Makes a key that rows share which train the same network in the same way, perhaps for another number of epochs.

    The shorter run is then the beginning of the longer one. Networks and schedules that look at the number of planned
    epochs are shared by rows of the same number only.

    Args:
        config: configuration of a row, as its file has it.

    Returns:
        Something that can be compared and looked up.
    """
    settings = experiment({key: value for key, value in config.items() if key != "reproduction"})
    epochs = settings.pop("trainer.max_epochs", None)
    return _frozen(settings), epochs if _looks_at_the_end(settings) else None


def _frozen(value: Any) -> Any:
    """Makes plain data hashable, so that it can be looked up by."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(part)) for key, part in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _looks_at_the_end(settings: dict[str, Any]) -> bool:
    """Checks whether the learning rate may depend on how many epochs are planned: torch's own schedules cannot."""
    schedule = settings.get("model.init_args.scheduler.class_path") or settings.get("model.init_args.scheduler")
    torchs_own = schedule is None or str(schedule).startswith("torch.optim.lr_scheduler.")
    return not torchs_own or settings.get("model.class_path") in _MODELS_THAT_LOOK_AT_THE_END


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    """Finds the keys whose values differ, with both values."""
    keys = [*first, *(key for key in second if key not in first)]
    return {key: [first.get(key), second.get(key)] for key in keys if first.get(key) != second.get(key)}


def resumed_changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """Finds what keeps a run with one configuration from going on with another.

    What only ended it may be lifted, where no schedule of learning rates is laid over the whole run.

    Args:
        before: the configuration that the run began with.
        now: the one that it is to go on with.
    """
    settings = experiment(now)
    lifted = _ENDS[:1] if _looks_at_the_end(settings) else _ENDS
    changed = differences(experiment(before), settings)
    if before.get("seed_everything") != now.get("seed_everything"):
        changed = {"seed_everything": [before.get("seed_everything"), now.get("seed_everything")], **changed}
    return {key: values for key, values in changed.items() if key not in lifted}


def as_argument(value: Any) -> str:
    """Writes a setting's value as a command line takes it, unquoted."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings into one, with dotted keys; lists stay values."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {
        key: value
        for name, inner in config.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }
