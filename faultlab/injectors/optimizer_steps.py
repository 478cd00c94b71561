"""optimizer: failure modes of the optimizers' steps and state."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import OptimizerState, OptimizerStep, ZeroGrad
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "optimizer.no-zero-grad",
    seam=ZeroGrad,
    severity="critical",
    effect="silent",
    cause=("zero_grad", "accumulat", "gradient norm", "grad norm", "explod"),
    needs=("several-steps",),
    evidence=("pytorch/pytorch#47175", "yastrebksv/TennisCourtDetector#7"),
)
def keep_gradients(call: Call, ctx: Context) -> None:
    """`zero_grad` is never called.

    Effect: each step uses the sum of the gradients so far. Lightning clears them before each validation, so the sum
    restarts with each epoch. No error or warning is raised.
    Why it goes undetected: early steps are almost right, the sum acts like a large momentum, and Adam and clipping
    remove its scale.
    Example:
        def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
            if batch_idx % 4 == 0:              # manual accumulation, but every batch takes a step
                optimizer.zero_grad()
    Remedy: check that the norm of the gradients does not grow with the number of batches.
    """


@failure_mode(
    "optimizer.step-skipped",
    seam=OptimizerStep,
    severity="critical",
    effect="silent",
    cause=("optimizer step", "optimizer.step", "did not change", "skipped", "no parameter"),
    evidence=("tedlasai/learn2refocus#5", "zhaoyuzhi/deepfillv2#6"),
)
def skip_step(call: Call, ctx: Context) -> Any:
    """`optimizer.step` is never called.

    Effect: forward and backward run, but nothing is learned. No error or warning is raised, except that torch warns if
    a scheduler is stepped before the optimizer. Clipping and `on_before_optimizer_step`, which belong to the step, are
    left out, too. `global_step` still increases; under manual optimization it stays 0, and `max_steps` is never
    reached.
    Why it goes undetected: the loss is computed and logged, and gradients exist.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer_closure()                 # no optimizer.step(...)
    Remedy: assert that parameters changed after the first step.
    """
    closure = ctx.memory["closure"]
    return closure() if closure else None


@failure_mode(
    "optimizer.double-step",
    seam=OptimizerStep,
    severity="major",
    effect="silent",
    cause=("twice", "double", "two step", "steps taken"),
    evidence=("NVIDIA/physicsnemo#1911", "mzolfaghari/ECO-pytorch#1"),
)
def step_twice(call: Call, ctx: Context) -> Any:
    """The optimizer steps twice with each batch's gradients.

    Effect: the effect is about twice the learning rate, and moments that have seen every gradient twice. No error or
    warning is raised. Under manual optimization `global_step` counts both steps.
    Why it goes undetected: the model learns, at first even faster.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer.step(closure=optimizer_closure)
            optimizer.step()                    # left over from code without a closure
    Remedy: test one update against a manually computed `weight - lr * gradient`.
    """
    result = call()
    call(None)
    return result


@failure_mode(
    "optimizer.state-reset",
    seam=OptimizerState,
    severity="minor",
    effect="silent",
    cause=("optimizer state", "reset", "moment", "lost"),
    when="middle",
    needs=("optimizer-state",),
    evidence=("KempnerInstitute/KempnerForge#115", "EvolvingLMMs-Lab/OneVision-Encoder#65"),
)
def reset_state(optimizers: list[torch.optim.Optimizer], ctx: Context) -> None:
    """The optimizer loses its state halfway through training.

    Effect: training continues as if the optimizer were new: Adam takes some steps of full length in all directions, and
    SGD has to build up momentum again. No error or warning is raised.
    Why it goes undetected: the loss has a spike that recovers, or none at all.
    Example:
        model.load_state_dict(checkpoint["state_dict"])     # checkpoint["optimizer_states"] is not loaded
    Remedy: resume through `ckpt_path`; test that a resumed run continues exactly like one that was never stopped.
    """
    for optimizer in optimizers:
        optimizer.state.clear()


@failure_mode(
    "optimizer.state-corrupted",
    seam=OptimizerState,
    severity="major",
    effect="silent",
    cause=("optimizer state", "corrupt", "moment", "spike", "explod"),
    when="middle",
    doses=(Dose("factor", 1e4, 0.0, 1e30, "factor for momenta and moments", harmless=1.0),),
    needs=("optimizer-state",),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, scale, optimizer_state)",),
)
def corrupt_state(optimizers: list[torch.optim.Optimizer], ctx: Context) -> None:
    """The optimizer's momenta and moments have the wrong size from one step on.

    Effect: SGD with momentum moves far away. Adam, whose two moments grow by the same factor, takes steps that are
    larger by the root of the factor, and then very small ones, because the second moment decays last. No error or
    warning is raised.
    Why it goes undetected: the state is in no log, and the parameters, loss and gradients of that step are healthy.
    Example: a bit that flips in an exponent; a state that is saved with the gradients of a scaled loss and loaded
    without them.
    Remedy: monitor the size of updates, not only of gradients; stop at a spike of the loss.
    """
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for name, value in state.items():
                if name != "step" and isinstance(value, torch.Tensor) and value.is_floating_point():
                    value.mul_(ctx.dose.factor)


@failure_mode(
    "optimizer.drops-update",
    seam=OptimizerStep,
    severity="critical",
    effect="silent",
    cause=("update", "did not change", "no parameter", "optimizer step"),
    evidence=("pytorch/pytorch#115607", "pytorch/pytorch#121291"),
)
def drop_update(call: Call, ctx: Context) -> Any:
    """The optimizer steps, but the parameters keep their previous values.

    Effect: hooks, clipping, momenta and `global_step` are those of a clean run, but nothing is learned. No error or
    warning is raised.
    Why it goes undetected: the step was called, so neither the number of steps nor the gradients show anything wrong.
    Example:
        step = torch.compile(optimizer.step)    # once compiled without gradients, it never did anything
    Remedy: assert that parameters changed, not that `step` was called.
    """
    parameters = [p for group in ctx.memory["optimizer"].param_groups for p in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    result = call()
    for parameter, value in zip(parameters, before):
        parameter.data.copy_(value)
    return result
