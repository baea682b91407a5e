"""DeepSpeed's ZeRO 1, 2 and 3, on CPU processes too."""

import deepspeed
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy

from cifar_hpc.errors import UserError
from cifar_hpc.hpc.siblings import PATIENCE


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's DeepSpeedStrategy for networks whose weights are in channels_last order.

    Args:
        stage: stage of ZeRO: 1 shares out the optimiser's state, 2 the gradients too, 3 the parameters too.
        kwargs: see Lightning's strategy.
    """

    def setup(self, trainer: Trainer) -> None:
        """Puts the weights in the order of their indices: DeepSpeed broadcasts and flattens them as bytes."""
        assert self.model is not None
        self.model.to(memory_format=torch.contiguous_format)
        super().setup(trainer)


class CPUZeroStrategy(ZeroStrategy):
    """ZeRO without Lightning's check for CUDA, which DeepSpeed itself does not need.

    Args:
        stage: stage of ZeRO.
    """

    def __init__(self, stage: int) -> None:
        # It serves inference alone, and DeepSpeed would compile it first, for minutes.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        super().__init__(stage=stage, process_group_backend="gloo", timeout=PATIENCE)

    @property
    def root_device(self) -> torch.device:
        """The CPU, with the index that DeepSpeed wants of every device."""
        return torch.device("cpu", self.local_rank)

    def setup_environment(self) -> None:
        """Does what Lightning does behind its check."""
        super(DeepSpeedStrategy, self).setup_environment()

    def setup_distributed(self) -> None:
        """Joins the processes; CPU processes have no device indices to be checked."""
        if not hasattr(self, "_init_deepspeed_distributed"):
            raise UserError("The installed Lightning cannot start DeepSpeed on CPUs")
        DDPStrategy.set_world_ranks(self)
        self._init_deepspeed_distributed()
