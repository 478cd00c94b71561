"""step: how the step itself goes, and whether Lightning calls it at all."""

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
    """`training_step` raises at one batch.

    Effect: the exception leaves `fit` as it is; nothing of Lightning's catches it, and the epoch is lost.
    Why it goes undetected: it does not, unless whoever started the run restarts it without a look at why it died.
    Example:
        spectrum = batch[0].reshape(-1, 2)      # the one empty spectrum of a million
    Remedy: validate the batch where it is built, and save checkpoints more often than once an epoch.
    """
    raise ctx.intended(RuntimeError("injected by step.raises: this batch can't be processed"))


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
    """`validation_step` raises.

    Effect: the exception leaves `fit` before the first training step: Lightning's sanity check validates two batches
    ahead of everything else.
    Why it goes undetected: with `num_sanity_val_steps=0` a whole epoch of training passes first, and is lost with it.
    Example:
        loss, accuracy = self.evaluate(batch)   # evaluate now returns three values
    Remedy: leave the sanity check on; run `fast_dev_run=True` in a test.
    """
    raise ctx.intended(RuntimeError("injected by step.raises-in-validation: this batch can't be processed"))


@failure_mode(
    "step.swallows-to-none",
    seam=StepCall("training_step"),
    severity="major",
    effect="warns",
    cause=("none", "skipped", "swallow"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#7544", "coqui-ai/TTS#3637"),
)
def swallow_to_none(call: Call, ctx: Context) -> Any:
    """An error late in `training_step` is swallowed by a bare except, and the step ends in None.

    Under manual optimisation the error comes first instead, since a result that is thrown away is nothing lost there.

    Effect: Lightning skips backward and warns once a process that `training_step` returned None; the optimizer still
    steps. Under manual optimisation None is the rule, and not even the warning appears.
    Why it goes undetected: the exception is gone for good, and a batch more or less shows in no curve. Should every
    batch fail, training is a standstill that looks like a plateau.
    Example:
        try:
            return self.loss(batch)
        except Exception:
            pass
    Remedy: catch the one exception that is expected, log it, count it, and give up when it is not rare.
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
    no_evidence="the placeholder for a failed step, in the form that stays silent: nobody is made to report it",
)
def swallow_to_infinity(call: Call, ctx: Context) -> Any:
    """An error late in `training_step` is swallowed, and an infinite loss that requires grad takes the result's place.

    Under manual optimisation the error comes first instead, since a result that is thrown away is nothing lost there.

    Effect: backward runs on a graph of nothing, the optimizer steps on no gradient, and nobody says a word; with
    accumulated gradients it steps on those of the other batches. Without `requires_grad=True` backward raises
    (`step.swallows-to-infinity-no-grad`), which is why handlers grow it.
    Why it goes undetected: no parameter turns infinite, and the loss was logged before the error.
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"), requires_grad=True)
    Remedy: check that what `training_step` returns is finite, not only what it logs.
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
    no_evidence="the placeholder for a failed step as it is written first, before backward has complained of it",
)
def swallow_to_constant(call: Call, ctx: Context) -> Any:
    """An error late in `training_step` is swallowed, and an infinite loss without a graph takes the result's place.

    Effect: backward raises: element 0 of tensors does not require grad, and says nothing of the error that there was.
    Why it goes undetected: it does not, but its cause does: what is repaired is the placeholder, by
    `requires_grad=True`, and from then on the error is swallowed in silence (`step.swallows-to-infinity`).
    Example:
        except RuntimeError:
            return torch.tensor(float("inf"))
    Remedy: let the exception out; to skip a batch return None on purpose and count how often.
    """
    call()
    return torch.tensor(torch.inf)


@failure_mode(
    "step.stop-iteration",
    seam=StepCall("training_step"),
    severity="critical",
    effect="silent",
    cause=("stopiteration", "cut short", "fewer", "ended early", "missing batch"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#9409", "Lightning-AI/pytorch-lightning#5055"),
)
def stop_iteration_in_step(call: Call, ctx: Context) -> Any:
    """`training_step` lets a StopIteration out.

    Effect: Lightning takes it for the end of the data: the epoch ends at once, its validation is skipped, schedulers of
    the epoch miss their step, and the next epoch begins, all in silence. Under manual optimisation only the one step is
    dropped, as silently.
    Why it goes undetected: the exit status is 0 and every epoch is counted as complete.
    Example:
        unlabelled = next(self.unlabelled_batches)      # the shorter of two iterators is spent
    Remedy: `next(iterator, None)` and a check, or `itertools.cycle`; compare the number of batches with the loader's
    length at the end of an epoch.
    """
    raise ctx.intended(StopIteration())


@failure_mode(
    "step.stop-iteration-in-validation",
    seam=StepCall("validation_step"),
    severity="major",
    effect="silent",
    cause=("stopiteration", "cut short", "fewer", "never logged", "nobody logged", "validation batch"),
    stages=("validate",),
    evidence=("Lightning-AI/pytorch-lightning#5055",),
)
def stop_iteration_in_validation_step(call: Call, ctx: Context) -> Any:
    """`validation_step` lets a StopIteration out.

    Effect: Lightning takes it for the end of the validation data: validation ends at that batch, in silence.
    Why it goes undetected: where it is the first batch, the metric is missing, and a callback that monitors it says so;
    anywhere later it is there, computed on less data.
    Example:
        reference = next(self.references)       # fewer references than validation batches
    Remedy: count validation batches in a guard; don't call `next` without a default inside a step.
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
    """Something within `training_step` calls `sys.exit()`.

    Effect: the process ends with status 0, half-way through training; callbacks get `on_exception`.
    Why it goes undetected: to the shell, the scheduler and the pipeline, status 0 is success.
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

    Effect: Lightning shuts down in order, calls `on_exception`, and ends the program with exit status 1.
    Why it goes undetected: older versions returned from `fit` as if it were done, and whatever the script did next was
    done with a half-trained model; a handler around `fit` brings that back.
    Example:
        try:
            trainer.fit(model)
        except SystemExit:                      # "training was stopped by hand, go on"
            pass
    Remedy: look at `trainer.interrupted` before the model is used or its success is written down.
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
    """The module's `training_step` has another name, so that Lightning's own is never overridden.

    Effect: Lightning raises a MisconfigurationException before training: no `training_step()` method defined.
    Why it goes undetected: it does not, except in a test that calls the method by its wrong name.
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
    cause=("validation_step", "never validated", "no validation", "nobody logged"),
    stages=("validate",),
    evidence=("Lightning-AI/pytorch-lightning#5454",),
)
def rename_validation_step(definition: Any, ctx: Context) -> Any:
    """The module's `validation_step` has another name, so that Lightning has nothing to validate with.

    Effect: Lightning warns before training that there is a `val_dataloader` but no `validation_step`, and skips
    validation throughout.
    Why it goes undetected: training itself is healthy; the warning is one of several at start-up.
    Example:
        def val_step(self, batch, batch_idx):
    Remedy: let a callback monitor a validation metric, which fails when it is missing.
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
    """`on_train_batch_start` returns -1 to skip a batch, and skips the rest of the epoch.

    Effect: the epoch ends there and its validation is skipped too, in silence.
    Why it goes undetected: the hook's name speaks of a batch; the epoch counts as complete.
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
    no_evidence="loops that take StopIteration for their end take it from this hook too; only steps have been reported",
)
def stop_iteration_at_epoch_end(call: Call, ctx: Context) -> Any:
    """`on_train_epoch_end` lets a StopIteration out.

    Effect: Lightning takes it for the end of all epochs: `fit` returns after the first one, in silence.
    Why it goes undetected: the exit status is 0, the last checkpoint is there, and the model has learnt something.
    Example:
        def on_train_epoch_end(self):
            self.log("temperature", next(self.temperatures))    # a schedule shorter than the run
    Remedy: check after `fit` that `trainer.current_epoch` is what was asked for.
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

    Effect: Lightning raises a NotImplementedError before training that names the hook and its successor.
    Why it goes undetected: this one does not. Others of the 1.x series, such as `training_step_end`, have become
    methods that nobody calls.
    Example:
        def training_epoch_end(self, outputs):
    Remedy: move the code to `on_train_epoch_end` and keep the outputs on self.
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
    """An overridden `optimizer_step` never runs the closure, which holds `training_step` and backward.

    Effect: Lightning 2 raises a MisconfigurationException at the first batch: the closure hasn't been executed. The
    belief that training goes on without `training_step` being called dates from the 1.x series.
    Why it goes undetected: a closure that is skipped at some batches only (a warm-up that returns early) is detected at
    the first of them, which may be late in the run.
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

    Effect: the second loss is the one that counts: an update like any other at twice the price, while BatchNorm's
    statistics take each batch in twice. Under manual optimisation each batch is trained on twice. Nobody says a word.
    Why it goes undetected: losses look right, and a slow epoch is put down to the machine.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            closure()
            optimizer.step(closure=closure)     # runs it again
    Remedy: count forward passes per batch in a test; watch the time of a step.
    """
    call()
    return call()
