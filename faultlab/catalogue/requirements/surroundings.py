"""What a failure mode may need around the training: callbacks, checkpoints, the process, the system."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core import resource_limits
from faultlab.core.target_profile import Recon


@requirement("called-callback")
def _called_callback(recon: Recon) -> str:
    return "" if recon.callback_hooks else "no callback has a hook that is ever called"


@requirement("callback-hook")
def _callback_hook(recon: Recon) -> str:
    return "" if _busiest_calls(recon) else "the first callback has no hook that is called half-way or later"


@requirement("repeated-callback-hook")
def _repeated_callback_hook(recon: Recon) -> str:
    once = "no hook of the first callback is called twice while no step is on its way"
    return _callback_hook(recon) or (once if _busiest_calls(recon, between_steps=True) < 2 else "")


@requirement("best-checkpoint")
def _best_checkpoint(recon: Recon) -> str:
    if recon.checkpoints:
        monitored = any(name in recon.monitors for name in recon.checkpoints)
        return "" if monitored else "no callback that the Trainer is built with keeps checkpoints by a metric"
    return "" if recon.monitor else "nothing is logged by which a checkpoint could be the best"


@requirement("evaluated-best")
def _evaluated_best(recon: Recon) -> str:
    if reason := _best_checkpoint(recon):
        return reason
    if recon.unevaluated and recon.past_lightning:
        return "the module steps torch's own optimizers, of which Lightning counts none and keeps no best checkpoint"
    if recon.unevaluated:
        return f"Trainer.validate fails after the training, with no fault in it: {recon.unevaluated}"
    return "" if recon.validation_batches else "without a validation loop no checkpoint is evaluated as the best"


@requirement("later-save")
def _later_save(recon: Recon) -> str:
    if not recon.past_lightning and (no_optimizer := _optimizer(recon)):
        return f"{no_optimizer}, and the weights stay as they are"
    if recon.saves is not None and recon.saves < 2:
        return "the clean run saves its weights at one step only"
    # A training that is interrupted half-way resumes from its first epoch's checkpoint if it has no more than three.
    resumed = recon.epochs > 3 or bool(recon.checkpoints)
    return "" if recon.validation_batches or resumed else "only the first checkpoint is ever loaded"


@requirement("optimizer")
def _optimizer(recon: Recon) -> str:
    # Lightning makes one of its own that does nothing.
    return "" if set(recon.optimizers) - {"_MockOptimizer"} else "the Trainer has no optimizer"


@requirement("remembering-optimizer")
def _remembering_optimizer(recon: Recon) -> str:
    # Those that the module keeps by itself are in no checkpoint.
    return _optimizer(recon) or ("" if recon.optimizer_state else "no optimizer remembers anything from step to step")


@requirement("no-workers")
def _no_workers(recon: Recon) -> str:
    loaders = (recon.loading, recon.validation_loading)
    busy = any(loader is not None and loader.workers for loader in loaders)
    return "a loader's workers share memory as files, which the limit that stands for the disk hits too" if busy else ""


@requirement("posix")
def _posix(recon: Recon) -> str:
    return "" if resource_limits.exist() else "this system has no POSIX signals and limits"


def _busiest_calls(recon: Recon, between_steps: bool = False) -> int:
    first = next(iter(recon.callbacks), "")
    return recon.callback_hooks.get(first, {}).get(recon.busiest_hook(first, between_steps), 0)
