"""Lightning's loop over the steps of an epoch, without what nobody asked it to do between two steps.

Around every step Lightning looks up some forty hooks, inspects signatures and collects metrics that may have
been logged; on a small network that is a tenth of the time. `StepLoop` takes the steps of an epoch, but for its
first and last, by the short way when nothing listens in between, and leaves all others to Lightning. Weights,
progress, checkpoints and hooks are the same either way.
"""

from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

from cifar_hpc.models.classifier import as_batch
from cifar_hpc.speed.cuda_graph import GraphedSteps, can_replay
from cifar_hpc.speed.fused import direct

_INNER_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
"""Hooks within a step, of callbacks and of the module."""

_HOOKS_BETWEEN = ("on_train_batch_start", "on_train_batch_end")
"""Hooks of callbacks between two steps."""

_TRANSFER_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer")
"""Hooks on a batch's way to the device, of the module and of the DataModule."""

_LOGGING_HOOKS = ("on_train_batch_start", "training_step", "on_train_batch_end", *_INNER_HOOKS)
"""Hooks of a step that may have logged something in the epoch's first one."""

_MODULE_HOOKS = (
    *_INNER_HOOKS,
    *_TRANSFER_HOOKS,
    "transfer_batch_to_device",
    "on_train_batch_start",
    "on_train_batch_end",
    "optimizer_step",
    "optimizer_zero_grad",
    "backward",
    "configure_gradient_clipping",
)


class StepLoop(_TrainingEpochLoop):
    """Takes the short way from step to step where nothing listens in between."""

    _graphed: GraphedSteps | None = None
    """Steps by a CUDA graph, kept from epoch to epoch."""

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Takes one step, and before it those that may take the short way."""
        # Lightning's own first step settles what it notes once an epoch, its last one ends the epoch. What listens is
        # asked once, after the first.
        if self.batch_progress.current.ready == 1 and not self.restarting and self._nothing_listens(data_fetcher):
            self._short_steps(data_fetcher)
        super().advance(data_fetcher)

    def _nothing_listens(self, data_fetcher: _DataFetcher) -> bool:
        """Checks whether Lightning would do nothing between steps but count them."""
        trainer = self.trainer
        module, precision = trainer.lightning_module, trainer.precision_plugin
        return (
            trainer.world_size == 1
            and type(trainer.strategy) is SingleDeviceStrategy
            and (type(precision) is Precision or (type(precision) is MixedPrecision and precision.scaler is None))
            and module.automatic_optimization
            and trainer.accumulate_grad_batches == 1
            and not trainer.gradient_clip_val
            and trainer.val_check_batch == trainer.num_training_batches
            and trainer.num_training_batches != float("inf")
            and self.max_steps == -1
            and not trainer.fast_dev_run
            and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
            and not any(metric.meta.fx in _LOGGING_HOOKS for metric in self._results.result_metrics)
            and not any(is_overridden(hook, module, LightningModule) for hook in _MODULE_HOOKS)
            and not any(is_overridden(hook, trainer.datamodule, LightningDataModule) for hook in _TRANSFER_HOOKS)
            and not any(_listens(callback, hook) for callback in trainer.callbacks for hook in _INNER_HOOKS)
        )

    def _short_steps(self, data_fetcher: _DataFetcher) -> None:
        """Takes all steps but the last one of the epoch, or those until training is to stop."""
        trainer = self.trainer
        module, strategy, optimizer = trainer.lightning_module, trainer.strategy, direct(trainer.optimizers[0])
        starts, ends = (_step_hooks(trainer.callbacks, name) for name in _HOOKS_BETWEEN)
        progress = self.automatic_optimization.optim_progress.optimizer
        transfer = (trainer.datamodule or module).transfer_batch_to_device
        graphed = self._steps_by_graph(module, trainer.optimizers[0])
        for batch_idx in range(self.batch_idx + 1, int(trainer.num_training_batches) - 1):
            if trainer.should_stop or trainer.received_sigterm:
                break
            batch, _, _ = next(data_fetcher)
            batch = transfer(trainer.precision_plugin.convert_input(batch), strategy.root_device, 0)
            self.batch_progress.increment_ready()
            for hook in starts:
                hook(trainer, module, batch, batch_idx)
            self.batch_progress.increment_started()
            progress.step.increment_ready()
            if graphed is not None and graphed.takes(ours := as_batch(batch)):
                loss = graphed.step(ours)
            else:
                loss = _take_step(strategy, module, optimizer, batch, batch_idx)
            progress.step.increment_completed()
            progress.zero_grad.increment_ready()
            progress.zero_grad.increment_started()
            progress.zero_grad.increment_completed()
            self.batch_progress.increment_processed()
            if trainer.lr_scheduler_configs:
                self.update_lr_schedulers("step", update_plateau_schedulers=False)
            for hook in ends:
                hook(trainer, module, {"loss": loss}, batch, batch_idx)
            self.batch_progress.increment_completed()
            if trainer.lr_scheduler_configs:
                self.update_lr_schedulers("step", update_plateau_schedulers=True)
            self._batches_that_stepped += 1

    def _steps_by_graph(self, module: LightningModule, optimizer: Any) -> GraphedSteps | None:
        """Finds the way to take an epoch's steps by a CUDA graph; None where there is none."""
        callbacks = self.trainer.callbacks
        between = [each for each in callbacks if any(_listens(each, hook) for hook in _HOOKS_BETWEEN)]
        if not can_replay(module, between):
            self._graphed = None
        elif self._graphed is None or not self._graphed.fits(module, optimizer):
            self._graphed = GraphedSteps(self.trainer.precision_plugin, module, optimizer)  # type: ignore[arg-type]
        return self._graphed

    def teardown(self) -> None:
        """Frees the graph's memory at the end of a fit."""
        self._graphed = None
        super().teardown()


def _take_step(strategy: Any, module: LightningModule, optimizer: Any, batch: Any, batch_idx: int) -> Any:
    """Takes one step of the optimiser, and returns the loss, detached."""

    def closure() -> Any:
        loss = strategy.training_step(batch, batch_idx)
        optimizer.zero_grad()
        module.backward(loss)
        return loss.detach()

    return optimizer.step(closure)


def _step_hooks(callbacks: list[Callback], name: str) -> list[Any]:
    return [getattr(callback, name) for callback in callbacks if _listens(callback, name)]


def _listens(callback: Callback, hook: str) -> bool:
    """Checks whether a callback has a hook of its own; None, as in EpochCallback, is none."""
    return callable(getattr(callback, hook)) and is_overridden(hook, callback, Callback)
