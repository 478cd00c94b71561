"""Requirements on the surroundings of the training: callbacks, checkpoints, the process, the system."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core import framework_names, packages, resource_limits
from faultlab.core.target_profile import TargetProfile


@requirement("called-callback")
def _called_callback(profile: TargetProfile) -> str:
    return "" if profile.callback_hooks else "no callback has a hook that is called"


@requirement("callback-hook")
def _callback_hook(profile: TargetProfile) -> str:
    return "" if _busiest_calls(profile) else "the first callback has no hook that is called halfway or later"


@requirement("repeated-callback-hook")
def _repeated_callback_hook(profile: TargetProfile) -> str:
    once = "no hook of the first callback is called twice between steps"
    return _callback_hook(profile) or (once if _busiest_calls(profile, between_steps=True) < 2 else "")


@requirement("best-checkpoint")
def _best_checkpoint(profile: TargetProfile) -> str:
    if profile.checkpoints:
        monitored = any(name in profile.monitors for name in profile.checkpoints)
        return "" if monitored else "no callback passed to the Trainer keeps checkpoints by a metric"
    return "" if profile.monitor else "no logged metric could determine the best checkpoint"


@requirement("evaluated-best")
def _evaluated_best(profile: TargetProfile) -> str:
    if reason := _best_checkpoint(profile):
        return reason
    if profile.unevaluated and profile.past_trainer:
        trainer = framework_names.title()
        return f"the module steps torch's own optimizers, so {trainer} counts no steps and keeps no best checkpoint"
    if profile.unevaluated:
        return f"Trainer.validate fails after a training without a fault: {profile.unevaluated}"
    return "" if profile.validation_batches else "without a validation loop, no checkpoint is evaluated as the best"


@requirement("later-save")
def _later_save(profile: TargetProfile) -> str:
    if not profile.past_trainer and (no_optimizer := _optimizer(profile)):
        return f"{no_optimizer}, so the weights do not change"
    if profile.saves is not None and profile.saves < 2:
        return "the clean run saves its weights at one step only"
    # A training with at most three epochs that is interrupted halfway resumes from its first epoch's checkpoint.
    resumed = profile.epochs > 3 or bool(profile.checkpoints)
    return "" if profile.validation_batches or resumed else "only the first checkpoint is ever loaded"


@requirement("optimizer")
def _optimizer(profile: TargetProfile) -> str:
    # Without an optimizer, Lightning creates a mock that does nothing.
    return "" if set(profile.optimizers) - {packages.NO_OPTIMIZER} else "there is no optimizer"


@requirement("saved-optimizer")
def _saved_optimizer(profile: TargetProfile) -> str:
    if profile.saved is not None and "optimizer" not in profile.saved:
        return "the training saves no state of an optimizer"
    resumed = "" if profile.resumes else "the scenario does not name how the training continues from its checkpoints"
    return _optimizer(profile) or resumed


@requirement("saved-scheduler")
def _saved_scheduler(profile: TargetProfile) -> str:
    if profile.by_hand:
        return "no state of a scheduler is known in these checkpoints"
    return _optimizer(profile) or ("" if profile.schedulers else "there is no scheduler")


@requirement("remembering-optimizer")
def _remembering_optimizer(profile: TargetProfile) -> str:
    # Optimizers that the module keeps itself are in no checkpoint.
    return _saved_optimizer(profile) or ("" if profile.optimizer_state else "no optimizer keeps state between steps")


@requirement("kept-average")
def _kept_average(profile: TargetProfile) -> str:
    return "" if profile.keeps_average else "no checkpoint holds an average of the weights beside the weights"


@requirement("no-workers")
def _no_workers(profile: TargetProfile) -> str:
    loaders = (profile.loading, profile.validation_loading)
    busy = any(loader is not None and loader.workers for loader in loaders)
    return (
        "a loader's workers share memory as files, which the limit that simulates the full disk affects, too"
        if busy
        else ""
    )


@requirement("posix")
def _posix(profile: TargetProfile) -> str:
    return "" if resource_limits.exist() else "this system has no POSIX signals and limits"


def _busiest_calls(profile: TargetProfile, between_steps: bool = False) -> int:
    first = next(iter(profile.callbacks), "")
    return profile.callback_hooks.get(first, {}).get(profile.busiest_hook(first, between_steps), 0)
