"""The speedrun: a small network and every known means of training it in few passes over the images.

The network is `AirbenchNetwork`. Its training follows airbench94_muon (K. Jordan, arXiv:2404.00498 and
https://github.com/KellerJordan/cifar10-airbench) with the rates, the jitter and the growing images of the run E1 of
https://github.com/fulcrumresearch/cifar-10-speedrun, which reports 94.0 % on CIFAR-10. docs/speedrun.md says what each
means is, where it is from, and in what this departs from it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from cifar_hpc.data.loaders import Batch
from cifar_hpc.errors import UserError
from cifar_hpc.models.airbench_network import AirbenchNetwork, Conv3x3
from cifar_hpc.models.classifier import Classifier, as_batch, build_optimizer
from cifar_hpc.models.evaluation import logits_over_views
from cifar_hpc.models.lookahead import Lookahead


class Airbench(Classifier):
    """Trains an `AirbenchNetwork` with two optimisers, and tests it with and without test-time augmentation.

    Learning rates are for the loss summed over a batch. All of them fall together, linearly from the first step.

    Args:
        num_classes: number of classes.
        widths: channels of the three groups.
        optimizer: for biases and the last layer, whose rate its own is.
        filter_optimizer: for the filters of the 3×3 convolutions, given as matrices.
        bias_lr: learning rate of the biases of batch norm and of the whitening.
        weight_decay: part of the weights that `optimizer` takes away in each step at the full rates.
        whitening_bias_epochs: how long the whitening's bias is trained, with a rate of its own that falls to 0.
        decay_epochs: when the learning rates would reach 0.
        lr_floor: part of the learning rates that is kept to the end.
        lookahead_epochs: when the slow weights start, in epochs.
        lookahead_steps: steps from one pull on the slow weights to the next.
        lookahead_decay: part of the slow weights that is kept in a pull.
        label_smoothing: part of the target that is spread over all classes.
        resolutions: pixels to which images are scaled down in each epoch; the last holds for all epochs after it.
        brightness: largest shift of an image, in standard deviations of the pixels.
        contrast: largest change of an image's contrast, as a part of it.
    """

    def __init__(
        self,
        num_classes: int = 10,
        widths: tuple[int, int, int] = (64, 256, 256),
        optimizer: OptimizerCallable = torch.optim.SGD,
        filter_optimizer: OptimizerCallable = torch.optim.Muon,
        bias_lr: PositiveFloat = 0.0573,
        weight_decay: float = 0.0016,
        whitening_bias_epochs: PositiveFloat = 0.2,
        decay_epochs: PositiveFloat = 8.5,
        lr_floor: float = 0.05,
        lookahead_epochs: float = 8.25,
        lookahead_steps: PositiveInt = 4,
        lookahead_decay: float = 0.7,
        label_smoothing: float = 0.09,
        resolutions: tuple[int, ...] = (32,),
        brightness: float = 0.0,
        contrast: float = 0.0,
    ) -> None:
        super().__init__(num_classes, optimizer)
        self.automatic_optimization = False
        self.network = AirbenchNetwork(num_classes, widths)
        self.make_filter_optimizer = filter_optimizer
        # Plain numbers: the parser's own kinds, in a checkpoint, would be code to torch's safe way of loading.
        self.bias_lr = float(bias_lr)
        self.weight_decay = float(weight_decay)
        self.whitening_bias_epochs = float(whitening_bias_epochs)
        self.decay_epochs = float(decay_epochs)
        self.lr_floor = float(lr_floor)
        self.lookahead_epochs = float(lookahead_epochs)
        self.lookahead_steps = int(lookahead_steps)
        self.lookahead_decay = float(lookahead_decay)
        self.label_smoothing = label_smoothing
        self.resolutions = resolutions
        self.brightness = brightness
        self.contrast = contrast
        self.lookahead: Lookahead | None = None
        self._epochs_done = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.network(images)
        return logits

    def on_fit_start(self) -> None:
        """Whitens by the first batch; a checkpoint brings the filters along.

        Raises:
            UserError: if the run has several processes, which would whiten by a part of the batch each.
        """
        if self.trainer.world_size > 1:
            raise UserError(f"Airbench trains in one process, not in {self.trainer.world_size}; set trainer.devices: 1")
        if self.trainer.ckpt_path is None:
            batch = next(iter(self.trainer.datamodule.train_dataloader()))  # type: ignore[attr-defined]
            self.network.whitening.fit(batch.images)

    def configure_optimizers(self) -> Any:
        """Makes one optimiser for the filters and one for all else, with their schedules.

        Raises:
            UserError: if an optimiser refuses a setting, or has a rate of 0, by which weight decay is divided.
        """
        epoch_steps = float(self.trainer.estimated_stepping_batches) / float(self.trainer.max_epochs or 1)
        filters = build_optimizer(
            self.make_filter_optimizer, [conv.filters for conv in self._convolutions()], "filter_optimizer"
        )
        others = build_optimizer(self.make_optimizer, [self.network.head.weight])
        head = others.param_groups[0]
        if not head["lr"] > 0:
            raise UserError(f"model.init_args.optimizer.init_args.lr is {head['lr']:g}; it must be greater than 0")
        head["weight_decay"] = self.weight_decay / head["lr"]
        norms = [module.bias for module in self.network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for biases in ([self.network.whitening.bias], norms):
            decay = self.weight_decay / self.bias_lr
            others.add_param_group({"params": biases, "lr": self.bias_lr, "weight_decay": decay})

        def falling(step: int) -> float:
            return float(max(1 - step / epoch_steps / self.decay_epochs, self.lr_floor))

        def whitening(step: int) -> float:
            return float(max(1 - step / epoch_steps / self.whitening_bias_epochs, 0.0))

        schedules = [LambdaLR(filters, falling), LambdaLR(others, [falling, whitening, falling])]
        return [filters, others], schedules

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Takes one step of both optimisers."""
        batch = as_batch(batch)
        epoch_steps = int(self.trainer.num_training_batches)
        self._epochs_done = self.current_epoch + batch_idx / epoch_steps
        loss = super().training_step(batch, batch_idx)
        optimizers, schedules = self.optimizers(), self.lr_schedulers()
        self.manual_backward(loss * len(batch.labels))
        for convolution in self._convolutions():
            convolution.normalise()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):  # type: ignore[arg-type]
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        self._look_ahead(self.current_epoch * epoch_steps + batch_idx + 1, epoch_steps)
        return loss

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes mean cross-entropy with smoothed labels, of images jittered and scaled down, and the logits."""
        train_bias = self._epochs_done < self.whitening_bias_epochs
        logits = self.network(self.jitter(self.scale_down(batch.images)), train_bias).float()
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing), logits

    def scale_down(self, images: Tensor) -> Tensor:
        """Scales images (B, 3, 32, 32) down to the epoch's resolution R: (B, 3, R, R)."""
        resolution = self.resolutions[min(self.current_epoch, len(self.resolutions) - 1)]
        if resolution == images.shape[-1]:
            return images
        return F.interpolate(images, size=(resolution, resolution), mode="bilinear", align_corners=False)

    def jitter(self, images: Tensor) -> Tensor:
        """Makes each image brighter or darker, and gives it more or less contrast; same shape."""
        if not self.brightness and not self.contrast:
            return images
        shift, change = torch.rand(2, len(images), 1, 1, 1, device=images.device) * 2 - 1
        jittered: Tensor = (images + self.brightness * shift) * (1 + self.contrast * change)
        return jittered

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the answers for one batch, and as `test_tta` those averaged over six views of each image."""
        batch = as_batch(batch, self._places("test"))
        plain = self(batch.images).float()
        self._collect("test", batch, plain)
        self._collect("test_tta", batch, logits_over_views(self, batch.images, plain))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the slow weights, where there are some."""
        checkpoint["lookahead"] = None if self.lookahead is None else self.lookahead.slow

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the slow weights back."""
        if checkpoint["lookahead"] is not None:
            self.lookahead = Lookahead(self.network, self.lookahead_decay)
            self.lookahead.slow = checkpoint["lookahead"]

    def _look_ahead(self, done: int, epoch_steps: int) -> None:
        """Starts the slow weights in time, and pulls on them every few steps after that.

        Args:
            done: steps of the run so far.
            epoch_steps: steps of an epoch.
        """
        since = done - round(self.lookahead_epochs * epoch_steps)
        if since == 0:
            self.lookahead = Lookahead(self.network, self.lookahead_decay)
        elif self.lookahead is not None and since % self.lookahead_steps == 0:
            self.lookahead.pull()

    def _convolutions(self) -> list[Conv3x3]:
        return [module for module in self.network.modules() if isinstance(module, Conv3x3)]
