"""What makes an experiment: everything but what is shown not to."""

import inspect
from typing import Any

import pytest
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch import callbacks, plugins, strategies

from cifar_hpc.collection import experiment
from cifar_hpc.collection.experiment import differences, resumed_changes
from cifar_hpc.fit.trainer import Trainer

FLAGS = {*inspect.signature(LightningTrainer).parameters, *inspect.signature(Trainer).parameters} - {"kwargs"}


def test_every_flag_is_the_experiment_but_those_that_are_shown_not_to_be() -> None:
    engine = experiment._ENGINE_TRAINER_KEYS
    assert engine <= FLAGS, "name no flag that Lightning has not"
    for flag in [*FLAGS - engine - {"callbacks", "plugins"}, "a_flag_of_next_year"]:
        assert experiment.experiment({"trainer": {flag: 1}}) == {f"trainer.{flag}": 1}
    for flag in engine - {"strategy"}:
        assert experiment.experiment({"trainer": {flag: {"class_path": "x", "init_args": {"y": 1}}}}) == {}


STRATEGIES = {
    name: inspect.signature(getattr(strategies, name)).parameters
    for name in strategies.__all__
    if name.endswith("Strategy")
    and name not in ("Strategy", "ParallelStrategy", "XLAStrategy", "SingleDeviceXLAStrategy")
}
ACT = {"ddp_comm_state", "ddp_comm_hook", "ddp_comm_wrapper", "model_averaging_period", "precision_plugin", "config"}
"""Arguments of Lightning's strategies by which gradients, weights or optimisers become others."""


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_is_no_experiment_but_for_what_acts_on_gradients(name: str) -> None:
    path = f"lightning.pytorch.strategies.{name}"
    taken = {**dict.fromkeys(STRATEGIES[name], 1), "an_argument_of_next_year": 1, "ddp_comm_hook": None}
    found = experiment.experiment({"trainer": {"strategy": {"class_path": path, "init_args": taken}}})
    known = {key.rpartition(".")[2] for key in found}
    assert known & ACT == STRATEGIES[name].keys() & (ACT - {"ddp_comm_hook"})
    assert "an_argument_of_next_year" in known
    assert "trainer.strategy.class_path" not in found
    usual = {"process_group_backend", "timeout", "stage", "offload_optimizer", "cpu_offload", "sharding_strategy"}
    assert not known & usual


def test_somebody_elses_strategy_is_the_experiment() -> None:
    assert experiment.experiment({"trainer": {"strategy": {"class_path": "mine.DDPStrategy"}}})
    assert not experiment.experiment({"trainer": {"strategy": "ddp"}})


@pytest.mark.parametrize("group", ["a_group", "optimizer", "data", "model"])
def test_any_other_key_is_the_experiment(group: str) -> None:
    assert experiment.experiment({group: {"a_key": 1}}) == {f"{group}.a_key": 1}


def test_which_kernel_takes_an_optimisers_steps_is_none() -> None:
    settings = {"class_path": "torch.optim.Adam", "init_args": {"fused": True, "foreach": False, "lr": 1}}
    found = experiment.experiment({"model": {"init_args": {"filter_optimizer": settings, "fused": True}}})
    assert set(found) == {
        "model.init_args.filter_optimizer.class_path", "model.init_args.filter_optimizer.init_args.lr",
        "model.init_args.fused",
    }  # fmt: skip


CALLBACKS = {name for name in callbacks.__all__ if name not in ("Callback", "Checkpoint", "ProgressBar")}
LOOK_ON = {
    "DeviceStatsMonitor", "LearningRateMonitor", "ThroughputMonitor", "ModelSummary", "RichModelSummary",
    "TQDMProgressBar", "RichProgressBar", "ModelCheckpoint", "OnExceptionCheckpoint",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_a_callback_is_the_experiment_unless_it_looks_on(name: str) -> None:
    callback = {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": {"patience": 3}}
    found = experiment.experiment({"trainer": {"callbacks": [callback]}})
    assert found == ({} if name in LOOK_ON else {"trainer.callbacks": [callback]})


@pytest.mark.parametrize("path", ["progress.TQDMProgressBar", "progress.tqdm_progress.TQDMProgressBar"])
def test_a_callback_has_more_names_than_one_and_may_stand_alone(path: str) -> None:
    bar = {"class_path": f"lightning.pytorch.callbacks.{path}", "init_args": {}}
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {}}
    assert not experiment.experiment({"trainer": {"callbacks": bar}})
    assert experiment.experiment({"trainer": {"callbacks": stopping}}) == {"trainer.callbacks": [stopping]}


PLUGINS = sorted(name for name in plugins.__all__ if not inspect.isabstract(getattr(plugins, name)))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_the_experiment_unless_it_writes_files(name: str) -> None:
    defined = getattr(plugins, name).__module__  # in Lightning's other library, for some
    for module in ("lightning.pytorch.plugins", defined):
        plugin = {"class_path": f"{module}.{name}", "init_args": {}}
        found = experiment.experiment({"trainer": {"plugins": [plugin]}})
        assert found == ({} if name.endswith("CheckpointIO") else {"trainer.plugins": [plugin]})


def test_somebody_elses_callback_of_a_known_name_is_the_experiment() -> None:
    callback = {"class_path": "mine.ModelCheckpoint", "init_args": {}}
    assert experiment.experiment({"trainer": {"callbacks": [callback]}})
    assert not experiment.experiment({"trainer": {"callbacks": None}})


STOPPING = [{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "train/loss"}}]


def changed(**trainer: Any) -> dict[str, Any]:
    return {"seed_everything": 1, "trainer": {"max_epochs": 3} | trainer, "model": {"class_path": "M"}}


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        (changed(callbacks=STOPPING), changed(), "trainer.callbacks"),
        (changed(), changed(callbacks=STOPPING), "trainer.callbacks"),
        (changed(), changed(accumulate_grad_batches=2), "trainer.accumulate_grad_batches"),
        (changed(), changed() | {"seed_everything": 2}, "seed_everything"),
        (changed(max_time="00:00:01:00"), changed(), None),
        (changed(max_steps=5), changed(max_steps=-1), None),
        (changed(threads=1, precision="32-true"), changed(threads=2, precision="bf16-mixed"), None),
    ],
)
def test_what_keeps_a_run_from_going_on(before: dict[str, Any], now: dict[str, Any], key: str | None) -> None:
    assert next(iter(resumed_changes(before, now)), None) == key


def test_steps_are_no_mere_end_where_a_schedule_is_laid_over_them() -> None:
    before, now = (
        changed(max_steps=steps) | {"model": {"class_path": "cifar_hpc.models.Airbench"}} for steps in (5, 9)
    )
    assert resumed_changes(before, now) == {"trainer.max_steps": [5, 9]}


def test_differences_have_both_values() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": [1, None], "b": [2, 3], "c": [None, 4]}
