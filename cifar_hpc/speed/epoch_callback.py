"""A callback that costs a training step nothing."""

from lightning.pytorch import Callback


class EpochCallback(Callback):
    """A callback that acts at most once an epoch.

    Lightning calls six hooks of every callback around every step, each inside a profiler's context, which on
    small networks is most of its overhead; it passes over hooks that cannot be called.
    """

    on_train_batch_start = None  # type: ignore[assignment]
    on_train_batch_end = None  # type: ignore[assignment]
    on_before_zero_grad = None  # type: ignore[assignment]
    on_before_backward = None  # type: ignore[assignment]
    on_after_backward = None  # type: ignore[assignment]
    on_before_optimizer_step = None  # type: ignore[assignment]
