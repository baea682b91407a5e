"""Lookahead: slow weights that follow the fast ones, which are set back to them every few steps.

M. R. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps forward, 1 step back", arXiv:1907.08610.
"""

import torch
from torch import Tensor, nn


class Lookahead:
    """The slow weights of a network: an average of its weights and of its batch-norm statistics.

    Args:
        network: network whose state is averaged; the slow weights start as what it holds now.
        decay: part of the slow weights that is kept when they move towards the fast ones, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.slow = {name: value.clone() for name, value in self._fast().items()}

    @torch.no_grad()
    def pull(self) -> None:
        """Moves the slow weights towards the fast ones, and sets the fast ones to them."""
        for name, fast in self._fast().items():
            self.slow[name] = self.slow[name].to(fast.device).lerp(fast, 1 - self.decay)
            fast.copy_(self.slow[name])

    def _fast(self) -> dict[str, Tensor]:
        """Picks the network's own tensors; counters are no weights."""
        return {name: value for name, value in self.network.state_dict().items() if value.is_floating_point()}
