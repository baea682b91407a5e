"""How Lightning learns what a launcher started."""

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only

from cifar_hpc.hpc.launch import Launch


class LaunchedEnvironment(ClusterEnvironment):
    """One class for torchrun, mpirun and srun.

    Lightning has one for each, with habits of their own: that for Slurm checkpoints in mid-epoch, in files which
    it later loads unasked; that for torchrun refuses some settings with a traceback.

    Args:
        launch: this process's place.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self.launch = launch
        rank_zero_only.rank = launch.rank  # type: ignore[attr-defined]

    @property
    def creates_processes_externally(self) -> bool:
        """True: the launcher has created all processes."""
        return True

    @property
    def main_address(self) -> str:
        """Host of process 0."""
        return self.launch.address

    @property
    def main_port(self) -> int:
        """Port of process 0."""
        return self.launch.port

    @staticmethod
    def detect() -> bool:
        """Returns False: the environment is passed to the Trainer, and not for Lightning to find by itself."""
        return False

    def world_size(self) -> int:
        """Returns the number of all processes."""
        return self.launch.world_size

    def set_world_size(self, size: int) -> None:
        """Does nothing: the launcher has decided how many processes there are."""

    def global_rank(self) -> int:
        """Returns the number of this process among all."""
        return self.launch.rank

    def set_global_rank(self, rank: int) -> None:
        """Does nothing: the launcher has decided which number this process has."""

    def local_rank(self) -> int:
        """Returns the number of this process on its host."""
        return self.launch.local_rank

    def node_rank(self) -> int:
        """Returns the number of the host."""
        return self.launch.rank // self.launch.local_size
