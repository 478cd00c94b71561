"""What a failure mode may need of what surrounds the training: callbacks, checkpoints, the process and its system."""

from __future__ import annotations

from faultlab import limits
from faultlab.applicability import requirement
from faultlab.recon import Recon


@requirement("callback-hook")
def _callback_hook(recon: Recon) -> str:
    return "" if _busiest_calls(recon) else "the first callback has no hook that is called half-way or later"


@requirement("repeated-callback-hook")
def _repeated_callback_hook(recon: Recon) -> str:
    once = "no hook of the first callback is called twice"
    return _callback_hook(recon) or (once if _busiest_calls(recon) < 2 else "")


@requirement("best-checkpoint")
def _best_checkpoint(recon: Recon) -> str:
    if recon.checkpoints:
        monitored = any(name in recon.monitors for name in recon.checkpoints)
        return "" if monitored else "the callback that writes the checkpoints monitors nothing"
    return "" if recon.monitor else "nothing is logged by which a checkpoint could be the best"


@requirement("several-saves")
def _several_saves(recon: Recon) -> str:
    return "the clean run saves its weights at one step only" if (recon.saves or 2) < 2 else ""


@requirement("remembering-optimizer")
def _remembering_optimizer(recon: Recon) -> str:
    return "" if recon.optimizer_state else "no optimizer remembers anything from step to step"


@requirement("no-workers")
def _no_workers(recon: Recon) -> str:
    loaders = (recon.loading, recon.validation_loading)
    busy = any(loader is not None and loader.workers for loader in loaders)
    return "a loader's workers share memory as files, which the limit that stands for the disk hits too" if busy else ""


@requirement("posix")
def _posix(recon: Recon) -> str:
    return "" if limits.exist() else "this system has no POSIX signals and limits"


def _busiest_calls(recon: Recon) -> int:
    first = next(iter(recon.callbacks), "")
    return recon.callback_hooks.get(first, {}).get(recon.busiest_hook(first), 0)
