"""step: failure modes of the steps, and of whether Lightning calls them."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.injection_points import Definition, StepCall
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "step.raises",
    seam=StepCall("training_step"),
    severity="minor",
    effect="raises",
    cause=("training_step", "step raised", "step failed"),
    when="middle",
    evidence=("Noble-Lab/casanovo#16",),
)
def raise_in_step(call: Call, ctx: Context) -> Any:
    """`training_step` raises an exception at one batch.

    Effect: the exception propagates out of `fit` unchanged; Lightning does not catch it, and the epoch is lost.
    Why it goes undetected: it goes undetected only if the run is restarted without checking why it failed.
    Example:
        spectrum = batch[0].reshape(-1, 2)      # the one empty spectrum of a million
    Remedy: validate the batch where it is built, and save checkpoints more often than once per epoch.
    """
    raise ctx.intended(RuntimeError("injected by step.raises: this batch cannot be processed"))


@failure_mode(
    "step.raises-in-validation",
    seam=StepCall("validation_step"),
    severity="minor",
    effect="raises",
    cause=("validation_step", "validation step raised", "validation failed"),
    stages=("validate",),
    evidence=("unilight/LDNet#2", "mikkelfo/CORE-BEHRT#89"),
)
def raise_in_validation_step(call: Call, ctx: Context) -> Any:
    """`validation_step` raises an exception.

    Effect: the exception propagates out of `fit` before the first training step, because Lightning's sanity check
    validates two batches first.
    Why it goes undetected: with `num_sanity_val_steps=0`, a whole epoch of training runs first and is then lost.
    Example:
        loss, accuracy = self.evaluate(batch)   # evaluate now returns three values
    Remedy: validate a batch or two before training, and in a test. With Lightning, leave the sanity check enabled, and
    run `fast_dev_run=True` in a test.
    """
    raise ctx.intended(RuntimeError("injected by step.raises-in-validation: this batch cannot be processed"))


@failure_mode(
    "step.swallows-to-none",
    seam=StepCall("training_step"),
    severity="major",
    effect={"lightning": "warns", "torch": "raises"},
    cause=("none", "skipped", "swallow"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#7544", "coqui-ai/TTS#3637"),
)
def swallow_to_none(call: Call, ctx: Context) -> Any:
    """A bare `except` swallows an error late in `training_step`, and the step returns None.

    Under manual optimization the error comes first, because a discarded result has no effect there.

    Effect: Lightning skips backward and warns once per process that `training_step` returned None; the optimizer still
    steps. Under manual optimization None is normal, and there is no warning either.
    Why it goes undetected: the exception is lost, and a missing batch shows in no curve. If every batch fails, training
    stands still, which looks like a plateau.
    Example:
        try:
            return self.loss(batch)
        except Exception:
            pass
    Remedy: catch only the expected exception, log it, count it, and stop if it is not rare.
    """
    if ctx.profile.automatic:
        call()
    return None


@failure_mode(
    "step.swallows-to-infinity",
    seam=StepCall("training_step"),
    severity="major",
    effect="silent",
    cause=("inf", "finite", "swallow"),
    when="middle",
    no_evidence="the placeholder for a failed step, in the form that stays silent and is therefore not reported",
)
def swallow_to_infinity(call: Call, ctx: Context) -> Any:
    """An error late in `training_step` is swallowed, and an infinite loss that requires grad replaces the result.

    Under manual optimization the error comes first, because a discarded result has no effect there.

    Effect: backward runs on an empty graph, and the optimizer steps without gradients. No error or warning is raised.
    With accumulated gradients, the optimizer steps with those of the other batches. Without `requires_grad=True`
    backward raises an error (`step.swallows-to-infinity-no-grad`), which is why handlers add it.
    Why it goes undetected: no parameter becomes infinite, and the loss was logged before the error.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"), requires_grad=True)
    Remedy: check that the loss that the training step returns is finite, not only the values that it logs.
    """
    if ctx.profile.automatic:
        call()
    return torch.tensor(torch.inf, requires_grad=True)


@failure_mode(
    "step.swallows-to-infinity-no-grad",
    seam=StepCall("training_step"),
    severity="major",
    effect="raises",
    cause=("inf", "finite", "grad", "swallow"),
    when="middle",
    needs=("automatic-optimization",),
    no_evidence="the placeholder for a failed step as it is first written, before backward raises because of it",
)
def swallow_to_constant(call: Call, ctx: Context) -> Any:
    """An error late in `training_step` is swallowed, and an infinite loss without a graph replaces the result.

    Effect: backward raises a `RuntimeError`, element 0 of tensors does not require grad, which does not mention the
    original error.
    Why it goes undetected: the failure does not go undetected, but its cause does: the usual fix adds
    `requires_grad=True` to the placeholder, and from then on the error is swallowed silently
    (`step.swallows-to-infinity`).
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"))
    Remedy: let the exception propagate; to skip a batch, return None explicitly and count how often.
    """
    call()
    return torch.tensor(torch.inf)


@failure_mode(
    "step.stop-iteration",
    seam=StepCall("training_step"),
    severity="critical",
    effect={"lightning": "silent", "torch": "raises"},
    cause=("stopiteration", "cut short", "fewer", "ended early", "missing batch"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#9409", "Lightning-AI/pytorch-lightning#5055"),
)
def stop_iteration_in_step(call: Call, ctx: Context) -> Any:
    """`training_step` lets a StopIteration escape.

    Effect: Lightning treats it as the end of the data: the epoch ends immediately, its validation is skipped,
    schedulers of the epoch miss their step, and the next epoch begins. No error or warning is raised. Under manual
    optimization only this step is dropped, also without an error or warning.
    Why it goes undetected: the exit status is 0, and every epoch is counted as complete.
    Example:
        unlabeled = next(self.unlabeled_batches)        # the shorter of two iterators is exhausted
    Remedy: use `next(iterator, None)` and a check, or `itertools.cycle`; compare the number of batches with the
    loader's length at the end of an epoch.
    """
    raise ctx.intended(StopIteration())


@failure_mode(
    "step.stop-iteration-in-validation",
    seam=StepCall("validation_step"),
    severity="major",
    effect={"lightning": "silent", "torch": "raises"},
    cause=("stopiteration", "cut short", "fewer", "never logged", "validation batch"),
    stages=("validate",),
    evidence=("Lightning-AI/pytorch-lightning#5055",),
)
def stop_iteration_in_validation_step(call: Call, ctx: Context) -> Any:
    """`validation_step` lets a StopIteration escape.

    Effect: Lightning treats it as the end of the validation data, so validation ends at that batch. No error or warning
    is raised.
    Why it goes undetected: if it is the first batch, the metric is missing, and a callback that monitors it reports
    that; at any later batch the metric exists, but is computed from less data.
    Example:
        reference = next(self.references)       # fewer references than validation batches
    Remedy: count validation batches in a guard; do not call `next` without a default inside a step.
    """
    raise ctx.intended(StopIteration())


@failure_mode(
    "step.system-exit",
    seam=StepCall("training_step"),
    severity="major",
    effect="silent",
    cause=("systemexit", "exit"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#19916", "Lightning-AI/pytorch-lightning#21623"),
)
def exit_in_step(call: Call, ctx: Context) -> Any:
    """Code that `training_step` runs calls `sys.exit()`.

    Effect: the process ends with status 0, halfway through training; callbacks get `on_exception`.
    Why it goes undetected: to the shell, the scheduler and the pipeline, status 0 means success.
    Example:
        if not path.exists():
            print("no such file"); sys.exit()
    Remedy: raise an exception in libraries; have the pipeline check for the file that a complete run writes last.
    """
    raise ctx.intended(SystemExit())


@failure_mode(
    "step.keyboard-interrupt",
    seam=StepCall("training_step"),
    severity="minor",
    effect="raises",
    cause=("keyboardinterrupt", "interrupt"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#11924", "Lightning-AI/pytorch-lightning#19976"),
)
def interrupt_step(call: Call, ctx: Context) -> Any:
    """A KeyboardInterrupt arrives in the middle of a step.

    Effect: Lightning shuts down gracefully, calls `on_exception`, and ends the program with exit status 1.
    Why it goes undetected: older versions returned from `fit` as if it were complete, and the script continued with a
    half-trained model; a handler around `fit` restores that behavior.
    Example:
        try:
            trainer.fit(model)
        except SystemExit:                      # "training was stopped by hand, continue"
            pass
    Remedy: do not use the model of an interrupted training, and do not record its success; with Lightning, check
    `trainer.interrupted` first.
    """
    raise ctx.intended(KeyboardInterrupt())


@failure_mode(
    "step.renamed",
    seam=Definition("training_step"),
    severity="minor",
    effect="raises",
    cause=("training_step",),
    evidence=("Lightning-AI/pytorch-lightning#1199",),
)
def rename_training_step(definition: Any, ctx: Context) -> Any:
    """The module's `training_step` has a wrong name, so Lightning's default is not overridden.

    Effect: Lightning raises a `MisconfigurationException` before training: no `training_step()` method defined.
    Why it goes undetected: it goes undetected only in a test that calls the method by its wrong name.
    Example:
        def train_step(self, batch, batch_idx):
    Remedy: run one batch through the Trainer in a test; mark overrides with `typing.override` for the type checker.
    """
    return None


@failure_mode(
    "step.validation-renamed",
    seam=Definition("validation_step"),
    severity="major",
    effect="warns",
    cause=("validation_step", "never validated", "no validation", "never logged"),
    stages=("validate",),
    evidence=("Lightning-AI/pytorch-lightning#5454",),
)
def rename_validation_step(definition: Any, ctx: Context) -> Any:
    """The module's `validation_step` has a wrong name, so Lightning cannot validate.

    Effect: Lightning warns before training that there is a `val_dataloader` but no `validation_step`, and skips
    validation throughout.
    Why it goes undetected: training itself is healthy, and the warning is one of several at startup.
    Example:
        def val_step(self, batch, batch_idx):
    Remedy: let a callback monitor a validation metric; it fails if the metric is missing.
    """
    return None


@failure_mode(
    "step.skips-epoch",
    seam=StepCall("on_train_batch_start"),
    severity="major",
    effect="silent",
    cause=("fewer", "cut short", "skipped", "missing batch"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#4481",),
)
def skip_epoch(call: Call, ctx: Context) -> Any:
    """`on_train_batch_start` returns -1 to skip a batch, which skips the rest of the epoch.

    Effect: the epoch ends there, and its validation is skipped, too. No error or warning is raised.
    Why it goes undetected: the hook's name suggests a single batch, and the epoch counts as complete.
    Example:
        def on_train_batch_start(self, batch, batch_idx):
            if batch is None:
                return -1
    Remedy: drop bad samples in the collate function; compare the number of batches with the loader's length.
    """
    call()
    return -1


@failure_mode(
    "step.epoch-end-stop-iteration",
    seam=StepCall("on_train_epoch_end"),
    severity="critical",
    effect="silent",
    cause=("stopiteration", "fewer epochs", "ended early", "cut short"),
    no_evidence="loops that StopIteration ends are ended from this hook, too; only reports about steps were found",
)
def stop_iteration_at_epoch_end(call: Call, ctx: Context) -> Any:
    """`on_train_epoch_end` lets a StopIteration escape.

    Effect: Lightning treats it as the end of all epochs, so `fit` returns after the first one. No error or warning is
    raised.
    Why it goes undetected: the exit status is 0, the last checkpoint exists, and the model has learned something.
    Example:
        def on_train_epoch_end(self):
            self.log("temperature", next(self.temperatures))    # a schedule shorter than the run
    Remedy: check after `fit` that `trainer.current_epoch` has the requested value.
    """
    raise ctx.intended(StopIteration())


@failure_mode(
    "step.legacy-hook",
    seam=Definition("training_epoch_end"),
    severity="minor",
    effect="raises",
    cause=("training_epoch_end", "v2.0"),
    evidence=("Lightning-AI/pytorch-lightning#20465", "ChenFengYe/motion-latent-diffusion#24"),
)
def legacy_hook(definition: Any, ctx: Context) -> Any:
    """The module still has `training_epoch_end`, which Lightning 2.0 removed.

    Effect: Lightning raises a `NotImplementedError` before training that names the hook and its successor.
    Why it goes undetected: this hook does not go undetected. Others of the 1.x series, such as `training_step_end`,
    have become methods that Lightning never calls.
    Example:
        def training_epoch_end(self, outputs):
    Remedy: move the code to `on_train_epoch_end` and keep the outputs on `self`.
    """
    return lambda self, outputs: None


@failure_mode(
    "step.optimizer-step-skips-closure",
    seam=StepCall("optimizer_step"),
    severity="major",
    effect="raises",
    cause=("closure",),
    needs=("automatic-optimization",),
    evidence=("Lightning-AI/pytorch-lightning#4447", "lessw2020/Ranger-Deep-Learning-Optimizer#46"),
)
def skip_closure(call: Call, ctx: Context) -> Any:
    """An overridden `optimizer_step` never runs the closure, which contains `training_step` and backward.

    Effect: Lightning 2 raises a `MisconfigurationException` at the first batch: the closure hasn't been executed. The
    belief that training continues without calling `training_step` dates from the 1.x series.
    Why it goes undetected: a closure that is skipped only at some batches (such as in a warm-up that returns early) is
    detected at the first of them, which may be late in the run.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            if batch_idx % 2 == 0:              # every other batch
                optimizer.step(closure=optimizer_closure)
    Remedy: call the closure in every branch, or use `accumulate_grad_batches`.
    """
    return None


@failure_mode(
    "step.runs-twice",
    seam=StepCall("training_step"),
    severity="major",
    effect="silent",
    cause=("twice", "two steps", "repeated", "double"),
    evidence=("Lightning-AI/pytorch-lightning#4188",),
)
def run_step_twice(call: Call, ctx: Context) -> Any:
    """`training_step` runs twice for each batch.

    Effect: the second loss is the one that counts: the update is normal but costs twice as much, and BatchNorm's
    statistics include each batch twice. Under manual optimization each batch is trained on twice. No error or warning
    is raised.
    Why it goes undetected: losses look right, and a slow epoch is blamed on the machine.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            closure()
            optimizer.step(closure=closure)     # runs it again
    Remedy: count forward passes per batch in a test; monitor the time of a step.
    """
    call()
    return call()
