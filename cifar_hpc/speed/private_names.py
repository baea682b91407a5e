"""The private names of torch, Lightning and Python that this package leans on: any release may move them.

Where one that speed/ needs is gone, a run takes `--trainer.kernels stock` by itself and says which name it missed.
"""

from pkgutil import resolve_name

PRIVATE_NAMES = {
    "torch:_fused_adam_": "fused.py takes a step of Adam by it",
    "torch:_fused_adamw_": "fused.py takes a step of AdamW by it",
    "torch:_foreach_add_": "fused.py counts the steps of all weights by it",
    "torch.optim:Adam._init_group": "fused.py hands views of gradients to it",
    "torch.optim:SGD._init_group": "fused.py hands views of gradients to it",
    "torch.optim.optimizer:_global_optimizer_pre_hooks": "fused.py asks whether anything listens to a step",
    "torch.optim.optimizer:_global_optimizer_post_hooks": "fused.py asks whether anything listens to a step",
    "torch.optim:Optimizer.register_step_pre_hook": "fused.py reads `_optimizer_step_pre_hooks`, which it fills",
    "torch.optim:Optimizer.register_step_post_hook": "fused.py reads `_optimizer_step_post_hooks`, which it fills",
    "lightning.pytorch.loops.fetchers:_DataFetcher": "step_loop.py takes batches from it",
    "lightning.pytorch.loops.fetchers:_DataLoaderIterDataFetcher": "step_loop.py leaves it to Lightning",
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop": "step_loop.py extends it",
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop.advance": "step_loop.py replaces it",
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop.update_lr_schedulers": "step_loop.py calls it",
}
"""What in speed/ needs each name; the names are as `pkgutil.resolve_name` takes them."""

LOOP_ATTRIBUTES = ("_results", "_batches_that_stepped", "batch_progress", "automatic_optimization")
"""What step_loop.py reads from Lightning's loop over the steps of an epoch."""

ELSEWHERE = {
    "_signal_connector": "fit/trainer.py takes SIGTERM from it; else Lightning handles the signal too",
    "_broadcast_sigterm_tensor": "fit/trainer.py replaces it; else processes ask each other for signals at every step",
    "_iteration_based_training": "fit/trainer.py replaces it; else a resumed run with max_steps ends its epoch twice",
    "_timeout": "fit/trainer.py and bench/ours.py set it; else processes wait as long as Lightning has them",
    "_step_supports_amp_scaling": "fit/trainer.py asks optimisers; else float16's gradients are clipped as scaled",
    "_experiment": "fit/tensorboard.py asks whether there is one; else the file is written when the process ends",
    "_log_graph": "fit/tensorboard.py sets it; else the network is drawn twice",
    "_init_deepspeed_distributed": "hpc/zero.py calls it; else ZeRO on CPUs is refused",
    "_actions": "fit/request.py and completion.py read argparse's; else messages and Tab know fewer names",
    "_SubParsersAction": "completion.py looks for it; else Tab completes nothing",
    "_option_string_actions": "cli.py reads argparse's; else no flag like the mistyped one is told",
    "_EndRecData": "data/archives.py reads a zip's end by it; else zips are refused",
}
"""What each of the other rooms does with a name, and what happens where it is gone."""


def missing(loop: object | None = None) -> str:
    """Finds the first private name that the installed torch or Lightning lacks; empty where all are there.

    Args:
        loop: Lightning's loop over the steps of an epoch, to be looked at too.
    """
    for name in PRIVATE_NAMES:
        try:
            resolve_name(name)
        except (ImportError, AttributeError):
            return name.replace(":", ".")
    gone = (name for name in LOOP_ATTRIBUTES if loop is not None and not hasattr(loop, name))
    return next((f"{type(loop).__name__}.{name}" for name in gone), "")
