"""The callback that writes a run's `result.json` and `predictions.npz`."""

import hashlib
import io
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer

from cifar_hpc.collection.metrics import TESTED
from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.errors import UserError
from cifar_hpc.fit.callbacks import Converged
from cifar_hpc.fit.checkpoint import is_whole_epoch
from cifar_hpc.machine import Load
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.evaluation import Evaluation
from cifar_hpc.output import write_file
from cifar_hpc.records import environment
from cifar_hpc.records.record import (
    SCHEMA,
    DatasetFacts,
    Engine,
    Epochs,
    Hardware,
    ModelFacts,
    Point,
    Result,
    Selected,
    Selection,
    Status,
    Tier,
    Times,
    as_json,
    takes_all,
    tier,
)
from cifar_hpc.records.run_directory import write_json
from cifar_hpc.speed.epoch_callback import EpochCallback


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before it starts.

    Attributes:
        row: id of the row; null for a recipe.
        recipe: name of the recipe; null for a row.
        seed: seed of the run.
        planned_epochs: number of epochs of the row, whatever this run was told.
        curve_epochs: epochs whose values the report prints.
        printed_epochs: epochs of which a row of the same experiment prints a number about the test set.
        model_class_path: import path of the network.
        trainable_parameters: number of those of the whole network, of which ZeRO leaves each process a part.
        config_sha256: digest of the run's config.yaml.
        changed_from_row: experiment settings that differ from the row's, as [row's, run's].
    """

    row: str | None
    recipe: str | None
    seed: int
    planned_epochs: int
    curve_epochs: tuple[int, ...]
    printed_epochs: tuple[int, ...]
    model_class_path: str
    trainable_parameters: int
    config_sha256: str
    changed_from_row: dict[str, list[Any]]


class Recorder(EpochCallback):
    """Measures a run and writes its record: after each epoch as `partial`, after the test as `complete`.

    A run that something ended before its last epoch stays `partial` and says what. An epoch that was cut short is none:
    it has no point on the curve, no checkpoint, and whoever resumes the run trains it from its start.

    Times are wall clock, read after the device has finished. Training, evaluation and the first epoch are
    told apart. The state travels in the checkpoints, so that a resumed run has one unbroken record.

    Args:
        run_dir: the run's directory.
        facts: see `RunFacts`.
    """

    def __init__(self, run_dir: Path, facts: RunFacts) -> None:
        self.run_dir = run_dir
        self.facts = facts
        self.curve: list[Point] = []
        self.ended: str | None = None
        self.images = 0.0
        self.fit_seconds = 0.0
        self.load = Load()
        self.printed: dict[int, dict[str, Any]] = {}
        self.best_test: dict[str, Any] | None = None
        self.best_holdout: dict[str, Any] | None = None
        self.test_seconds: float | None = None
        self.trains = False
        self._fit_start: float | None = None
        self._test_start = 0.0
        self._epoch_start = 0.0
        self._evaluation_start = 0.0
        self._evaluation_seconds = 0.0
        self._learning_rate = 0.0
        self._predictions_sha256: str | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._fit_start = time.perf_counter()
        launcher = getattr(trainer.strategy, "cluster_environment", None)
        self.load.start(launched=launcher is not None and launcher.creates_processes_externally)
        self._write(trainer, "partial")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's clock."""
        self.trains = True
        self._evaluation_seconds = 0.0
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self._epoch_start = _now(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of an evaluation."""
        self._evaluation_start = _now(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds an evaluation to the epoch's time; wherever in the epoch it was."""
        self._evaluation_seconds += _now(pl_module) - self._evaluation_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds a whole epoch to the curve."""
        assert isinstance(pl_module, Classifier)
        if not is_whole_epoch(trainer):
            return
        seconds = _now(pl_module) - self._epoch_start - self._evaluation_seconds
        self.load.update()
        epoch = trainer.current_epoch + 1
        train = pl_module.train_metrics()
        self.images += train["images"]
        evaluations = _whole_evaluations(trainer, pl_module)
        metrics = {name: evaluation.metrics for name, evaluation in evaluations.items()}
        test = metrics.get("test", {})
        holdout = metrics.get("holdout", {})
        point = Point(
            epoch=epoch,
            train_loss=train["loss"],
            train_accuracy=train["accuracy"],
            **{key: test.get(key.removeprefix("test_")) for key in TESTED},
            train_seconds=seconds,
            eval_seconds=self._evaluation_seconds,
            learning_rate=self._learning_rate,
            holdout_loss=holdout.get("loss"),
            holdout_accuracy=holdout.get("accuracy"),
        )
        self.curve.append(point)
        if test:
            if epoch in self.facts.printed_epochs:
                self.printed[epoch] = _keep(epoch, evaluations["test"])
            # The first of equals is kept: a later epoch must be better to replace it.
            if self.best_test is None or test["accuracy"] > self.best_test["metrics"]["accuracy"]:
                self.best_test = _keep(epoch, evaluations["test"])
            best = self.best_holdout
            if holdout and (best is None or holdout["accuracy"] > best["holdout_accuracy"]):
                self.best_holdout = _keep(epoch, evaluations["test"])
                self.best_holdout["holdout_accuracy"] = holdout["accuracy"]
        pl_module.log_dict(
            {
                "train/images_per_second": train["images"] / seconds,
                "train/learning_rate": self._learning_rate,
            }
        )
        self._write(trainer, "partial")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock, and notes what ended the run."""
        self.ended = _why_ended(trainer, len(self.curve))
        self._stop_clock()
        if self.ended:
            self._write(trainer, "partial")

    def _stop_clock(self) -> None:
        self.load.update()
        if self._fit_start is not None:
            self.fit_seconds += time.perf_counter() - self._fit_start
            self._fit_start = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the test, which comes after the fit."""
        self._test_start = _now(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the last epoch's answers on the test set, which completes the record unless something ended the run."""
        assert isinstance(pl_module, Classifier)
        self.test_seconds = _now(pl_module) - self._test_start
        last = _keep(len(self.curve), pl_module.evaluations["test"])
        # Networks that are tested with test-time augmentation too evaluate that under a name of its own.
        augmented = pl_module.evaluations.get("test_tta")
        views = None if augmented is None else _keep(len(self.curve), augmented)
        if views is not None:
            last["accuracy_tta"] = views["metrics"]["accuracy"]
        # A test of some batches says nothing on the images that answers from epochs before it are about.
        self.best_test, self.best_holdout = (_if_like(kept, last) for kept in (self.best_test, self.best_holdout))
        self.printed = {epoch: kept for epoch, kept in self.printed.items() if _if_like(kept, last)}
        whole = len(last["label"]) == len(trainer.datamodule.evaluation_sets["test"])  # type: ignore[attr-defined]
        if last["epoch"] in self.facts.printed_epochs and whole:
            self.printed[last["epoch"]] = last
        if trainer.is_global_zero:
            arrays = _arrays(last) | _arrays(self.best_test, "best_test_") | _arrays(self.best_holdout, "best_holdout_")
            arrays |= _arrays(views, "tta_")
            for epoch, kept in self.printed.items():
                if epoch != last["epoch"]:  # the last epoch's are there under plain names
                    arrays |= _arrays(kept, f"epoch{epoch}_")
            content = io.BytesIO()
            np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
            self._predictions_sha256 = hashlib.sha256(content.getvalue()).hexdigest()
            write_file(self.run_dir / "predictions.npz", content.getvalue())
        self._write(trainer, "partial" if self.ended else "complete", last)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Marks the record: `partial` when the run was stopped, `failed` when it broke; nothing before it began."""
        if self._fit_start is None and not self.trains:
            return
        self._stop_clock()
        stopped = not isinstance(exception, Exception)  # Ctrl-C, or a signal
        self._write(trainer, "partial" if stopped else "failed")

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know of the epochs before it."""
        running = 0.0 if self._fit_start is None else time.perf_counter() - self._fit_start
        return {
            "curve": [asdict(point) for point in self.curve],
            "fit_seconds": self.fit_seconds + running,
            "images": self.images,
            "best_test": self.best_test,
            "best_holdout": self.best_holdout,
            "printed": self.printed,
            "load": (self.load.others, self.load.all_cores),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where the checkpoint was written."""
        if "printed" not in state_dict:
            raise UserError(
                f"The run in {self.run_dir} was begun by an earlier version of cifar_hpc, which kept less of each "
                "epoch; end it with that version, or begin anew in another --run_dir"
            )
        self.curve = [Point(**point) for point in state_dict["curve"]]
        self.images = state_dict.get("images", float("nan"))  # earlier versions kept none
        self.fit_seconds = state_dict["fit_seconds"]
        self.best_test = state_dict["best_test"]
        self.best_holdout = state_dict["best_holdout"]
        self.printed = dict(state_dict["printed"])
        self.load.others, self.load.all_cores = state_dict["load"]

    def _write(
        self,
        trainer: Trainer,
        status: Status,
        last: dict[str, Any] | None = None,
    ) -> None:
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CIFARDataModule)
        train_seconds = sum(point.train_seconds for point in self.curve)
        running = 0.0 if self._fit_start is None else time.perf_counter() - self._fit_start
        test_set = getattr(data, "evaluation_sets", {}).get("test", ())
        train_images = len(getattr(data, "train_set", ()))
        whole = not data.sample and train_images == data.dataset.train_images - data.holdout_images
        result = Result(
            schema=SCHEMA,
            row=self.facts.row,
            recipe=self.facts.recipe,
            seed=self.facts.seed,
            status=status,
            ended=self.ended,
            tier=self._tier(trainer, whole),
            epochs=self._epochs(trainer),
            dataset=DatasetFacts(data.dataset.name, train_images, len(test_set), data.sha256),
            model=ModelFacts(self.facts.model_class_path, self.facts.trainable_parameters),
            selection=Selection(
                self._selected(last), self._selected(self.best_test), self._selected(self.best_holdout)
            ),
            printed={str(epoch): self._selected(kept) for epoch, kept in self.printed.items()},
            curve=self.curve,
            time=Times(
                fit_seconds=self.fit_seconds + running,
                train_seconds=train_seconds,
                eval_seconds=sum(point.eval_seconds for point in self.curve),
                test_seconds=self.test_seconds,
                first_epoch_seconds=self.curve[0].train_seconds if self.curve else None,
                images_per_second=self.images / train_seconds if train_seconds else None,
                load=self.load.share,
            ),
            engine=Engine(getattr(trainer, "kernels", "stock")),
            hardware=Hardware(**environment.hardware(trainer)),
            software=environment.software(),
            config_sha256=self.facts.config_sha256,
            predictions_sha256=self._predictions_sha256,
            changed_from_row=self.facts.changed_from_row,
        )
        write_json(self.run_dir / "result.json", as_json(result))

    def _epochs(self, trainer: Trainer) -> Epochs:
        """Counts epochs planned and done; where the row's rule has ended the run, as many were planned as were done."""
        done, most = len(self.curve), self.facts.planned_epochs
        ended = done < most and _is_converged(trainer)
        return Epochs(done, done, most) if ended else Epochs(most, done)

    def _tier(self, trainer: Trainer, whole_dataset: bool) -> Tier:
        limits = (trainer.limit_train_batches, trainer.limit_val_batches, trainer.limit_test_batches)
        dev_run = trainer.fast_dev_run  # type: ignore[attr-defined]
        whole = whole_dataset and not dev_run and all(map(takes_all, limits))
        return tier(whole, len(self.curve), self._epochs(trainer).planned, self.facts.curve_epochs)

    @overload
    def _selected(self, kept: dict[str, Any]) -> Selected: ...

    @overload
    def _selected(self, kept: dict[str, Any] | None) -> Selected | None: ...

    def _selected(self, kept: dict[str, Any] | None) -> Selected | None:
        """Puts what was kept of an epoch into the record's words."""
        if kept is None:
            return None
        point = self.curve[kept["epoch"] - 1] if 0 < kept["epoch"] <= len(self.curve) else None
        return Selected(
            epoch=kept["epoch"],
            **{key: kept["metrics"][key.removeprefix("test_")] for key in TESTED},
            test_accuracy_tta=kept.get("accuracy_tta"),
            train_accuracy=None if point is None else point.train_accuracy,
            train_loss=None if point is None else point.train_loss,
        )


def _is_converged(trainer: Trainer) -> bool:
    """Checks whether the row's own rule says that the run is whole."""
    return any(isinstance(c, Converged) and c.holds for c in trainer.callbacks)  # type: ignore[attr-defined]


def _why_ended(trainer: Trainer, done: int) -> str | None:
    """Says what ended a run before its last epoch; null where it went to its end."""
    if done >= (trainer.max_epochs or 0) or _is_converged(trainer):
        return None
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return f"trainer.max_steps: {trainer.max_steps}"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (callback.time_remaining() or 1) <= 0:
            return "trainer.max_time"  # which makes such a callback
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            return f"EarlyStopping: {callback.stopping_reason_message.partition(' Signaling')[0]}"
    return "a callback"


def _whole_evaluations(trainer: Trainer, pl_module: Classifier) -> dict[str, Evaluation]:
    """Picks the evaluations at the end of this epoch that looked at every image of their set."""
    sets = trainer.datamodule.evaluation_sets  # type: ignore[attr-defined]
    return {name: found for name, found in pl_module.evaluations.items() if len(found.labels) == len(sets[name])}


def _if_like(kept: dict[str, Any] | None, last: dict[str, Any]) -> dict[str, Any] | None:
    """Returns an epoch's answers if they are about as many images as the last epoch's; else null."""
    return kept if kept is not None and len(kept["label"]) == len(last["label"]) else None


def _keep(epoch: int, evaluation: Evaluation) -> dict[str, Any]:
    """Puts an evaluation into types that a checkpoint may hold."""
    return {
        "epoch": epoch,
        "metrics": dict(evaluation.metrics),
        # As predictions.npz has them: a checkpoint holds those of many epochs.
        "label": evaluation.labels.to(torch.uint8),
        "class": evaluation.predicted.to(torch.uint8),
        "rank": evaluation.ranks.to(torch.uint8),
        "confidence": evaluation.confidence.float(),
        "loss": evaluation.losses.float(),
    }


def _arrays(kept: dict[str, Any] | None, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """Makes arrays of predictions.npz: answers for each test image and, beside the last epoch's, its label."""
    if kept is None:
        return {}
    arrays = {f"{prefix}{name}": kept[name].numpy() for name in ("class", "rank", "confidence", "loss")}
    return arrays if prefix else {"label": kept["label"].numpy()} | arrays


def _now(pl_module: LightningModule) -> float:
    """Reads the wall clock in seconds, once the device has done all it was given."""
    if pl_module.device.type == "cuda":
        torch.cuda.synchronize(pl_module.device)
    return time.perf_counter()
