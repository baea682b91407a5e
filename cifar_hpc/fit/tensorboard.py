"""What TensorBoard shows besides the curves and the graph: confusion matrix, mistakes, settings."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.models.classifier import Classifier
from cifar_hpc.models.evaluation import Evaluation
from cifar_hpc.output import write_file
from cifar_hpc.speed.epoch_callback import EpochCallback

_MISTAKES = 32


class RunLogger(TensorBoardLogger):
    """Lightning's logger for one run, a fit with a test behind it: one file of events, one graph, the settings.

    Args:
        run_dir: the run's directory.
        settings: the run's configuration, which hparams.yaml gets.
        draw_graph: whether the network can be drawn.
    """

    def __init__(self, run_dir: Path, settings: dict[str, Any], draw_graph: bool) -> None:
        # A run that goes on has drawn its graph already.
        draw_graph = draw_graph and not event_files(run_dir)
        super().__init__(run_dir.parent, run_dir.name, version="", log_graph=draw_graph, default_hp_metric=False)
        self.hparams = settings

    def log_graph(self, model: LightningModule, input_array: Tensor | None = None) -> None:  # type: ignore[override]
        """Draws the network once; the test asks again."""
        super().log_graph(model, input_array)
        self._log_graph = False

    def finalize(self, status: str) -> None:
        """Writes what is there and leaves the file open: behind the fit the test goes on in it."""
        if getattr(self, "_experiment", None) is not None:
            self.save()


class TensorBoardExtras(EpochCallback):
    """Adds pictures and hyperparameters after the test, and takes back what a resumed run will log again.

    Args:
        settings: the run's configuration, flat.
        run_dir: the run's directory.
    """

    def __init__(self, settings: dict[str, Any], run_dir: Path) -> None:
        self.settings = settings
        self._earlier = event_files(run_dir)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes back the epochs behind the checkpoint that this process goes on from; gives others the settings too."""
        if trainer.is_global_zero:
            for file in self._earlier:
                forget_after(file, trainer.current_epoch)
            for logger in trainer.loggers:
                if not isinstance(logger, TensorBoardLogger):
                    logger.log_hyperparams(self.settings)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the epochs before this one to disk, where a kill leaves them."""
        writer = _writer(trainer)
        if writer is not None:
            writer.flush()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes confusion matrix, mistakes and hyperparameters of the last epoch."""
        writer = _writer(trainer)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if writer is None or not isinstance(pl_module, Classifier) or not isinstance(data, CIFARDataModule):
            return
        evaluation = pl_module.evaluations["test"]
        epoch = trainer.current_epoch
        names = data.dataset.class_names
        writer.add_figure("test/confusion_matrix", confusion_figure(evaluation, names), epoch)
        writer.add_figure("test/mistakes", mistakes_figure(evaluation, data), epoch)
        from torch.utils.tensorboard.summary import hparams

        plain = bool | int | float | str
        settings = {key: v if isinstance(v, plain) else json.dumps(v) for key, v in self.settings.items()}
        # Names curves, whose last points stand beside the settings; a number of its own would be a card with one dot.
        metrics = {f"{name}/{metric}": 0.0 for name in ("train", "test") for metric in ("loss", "accuracy")}
        for summary in hparams(settings, metrics):
            writer.file_writer.add_summary(summary, epoch)
        writer.close()


def confusion_figure(evaluation: Evaluation, names: tuple[str, ...]) -> Any:
    """Draws the confusion matrix as a matplotlib figure; counts are written in where they fit."""
    from matplotlib.figure import Figure

    matrix = MulticlassConfusionMatrix(len(names))
    counts = matrix(evaluation.predicted, evaluation.labels).numpy()
    few = len(names) <= 20
    figure = Figure(figsize=(7, 7) if few else (14, 14))
    # matplotlib's own layout takes as long as all the drawing.
    axes = figure.add_axes((0.17, 0.17, 0.81, 0.81) if few else (0.09, 0.09, 0.9, 0.9))
    axes.imshow(counts, cmap="Blues")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9 if few else 5)
    axes.set_yticks(range(len(names)), names, fontsize=9 if few else 5)
    if few:
        for row in range(len(names)):
            for column in range(len(names)):
                dark = counts[row, column] > counts.max() / 2
                axes.text(
                    column, row, counts[row, column], ha="center", va="center", fontsize=8,
                    color="white" if dark else "black",
                )  # fmt: skip
    return figure


def mistakes_figure(evaluation: Evaluation, data: CIFARDataModule) -> Any:
    """Draws the wrongly classified test images of which the network was surest."""
    from matplotlib.figure import Figure

    wrong = (evaluation.predicted != evaluation.labels).nonzero().flatten()
    surest = wrong[evaluation.confidence[wrong].argsort(descending=True)][:_MISTAKES]
    images = data.evaluation_sets["test"].images
    names = data.dataset.class_names
    # One picture of all images, as each axes of its own would take as long to draw.
    columns, width, height, title = 8, 36, 46, 14
    canvas = np.full((_MISTAKES // columns * height + 4, columns * width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(12, 12 * canvas.shape[0] / canvas.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for place, index in enumerate(surest.tolist()):
        top, left = place // columns * height + title, place % columns * width + 2
        canvas[top : top + 32, left : left + 32] = images[evaluation.indices[index]].cpu().numpy()
        predicted, label = int(evaluation.predicted[index]), int(evaluation.labels[index])
        told = f"{names[predicted]} {100 * float(evaluation.confidence[index]):.0f} %\nis {names[label]}"
        axes.text(left + 16, top - 1, told, ha="center", va="bottom", fontsize=8)
    axes.imshow(canvas)
    return figure


def tensorboard_logger(trainer: Trainer) -> TensorBoardLogger | None:
    """Finds the first logger of a run that writes for TensorBoard; null where there is none."""
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def event_files(folder: Path) -> list[Path]:
    """Finds TensorBoard's files in a folder."""
    return sorted(folder.glob("events.out.tfevents.*"))


def forget_after(file: Path, epoch: int) -> None:
    """Removes from one of TensorBoard's files what it has of later epochs, and a last record that a kill cut off."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    kept = io.BytesIO()
    writer = RecordWriter(kept)
    for event in RawEventFileLoader(str(file)).Load():
        if Event.FromString(event).step <= epoch:
            writer.write(event)
    write_file(file, kept.getvalue())


def _writer(trainer: Trainer) -> Any:
    """Finds TensorBoard's writer on the process that logs; None elsewhere or with another logger."""
    logger = tensorboard_logger(trainer)
    return logger.experiment if trainer.is_global_zero and logger is not None else None
