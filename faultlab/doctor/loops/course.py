"""The course of the training: learning rates, their schedules, and the loss."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor import loss_values, milestones, momentum, restarts
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.loops.mechanics import trains
from faultlab.doctor.loops.weights import any_length

COURSE, LOSS = Checks(), Checks()
check = COURSE.check
_GONE, _WARM = 0.01, 0.1
_WHOLE_COURSES = ("T_max", "total_steps", "total_iters")


check("momentum", "YudeWang/SEAM#21")(momentum.swapped)
check("milestones", "Pointcept/Pointcept#379")(milestones.unreached)


@check("learning rate schedule", "ivadomed/ivadomed#55")
def schedule(seen: Seen) -> Iterator[Finding]:
    """Find a schedule that is stepped in another unit than its length is in, or never."""
    steps, rates = seen["gradients"]["steps"], seen["rates"]
    passes = max((one["iterations"] for one in seen["loaders"] if one["learns"]), default=0)
    if not trains(seen) or not rates:
        return
    peak = max(rate for _, rate in rates)
    base = max((one["base"] for one in seen["schedulers"]), default=0.0)
    if not seen["cut"] and 0 < peak < _WARM * base and len(rates) > 1 and rates[-1][1] == peak:
        yield wrong(
            f"the learning rate is still warming up when the training ends: it has risen to {peak:.2g} of {base:g}, in "
            f"{steps} steps",
            ", ".join(one["name"] for one in seen["schedulers"]),
            "Make the warm-up a small part of the steps, such as 5 %.",
        )
    for one in seen["schedulers"]:
        if one["idle"] and one["turns"]:
            yield wrong(
                f"{one['name']} changes the rate of an optimizer that is never stepped; the one that is stepped keeps "
                "its own",
                f"{one['turns']} scheduler steps ({seen['places'].get('step', '')})",
                "Make the schedule from the optimizer that the loop steps, after it is made.",
            )
    gone = next((step for step, rate in rates if rate < _GONE * peak and step > rates[0][0]), None)
    for one in seen["schedulers"]:
        per_batch = passes > 1 and one["turns"] >= 0.9 * steps > passes
        if per_batch and gone is not None and gone < 0.5 * steps:
            yield wrong(
                f"{one['name']} is stepped in every batch and has brought the learning rate from {peak:g} to below "
                f"{_GONE * peak:g} after {gone} of {steps} steps: the rest learns next to nothing",
                f"{one['turns']} scheduler steps in {passes} epochs",
                "Call scheduler.step() once per epoch, after its last batch, or give the schedule a length in steps.",
            )
        elif per_batch and one["by"] in _WHOLE_COURSES and one["length"] <= passes and steps >= 4 * one["length"]:
            yield wrong(
                f"{one['name']} has a length in epochs ({one['by']}={one['length']}) but is stepped in every batch: it "
                f"ends after {one['length']} of {steps} steps",
                f"{one['turns']} scheduler steps in {passes} epochs",
                f"Call scheduler.step() once per epoch, or write {one['by']}={steps}.",
            )
        elif not one["turns"] and passes > 1 and not seen["cut"]:
            yield attention(
                f"{one['name']} is never stepped",
                f"{passes} epochs, 0 scheduler steps",
                "Call scheduler.step() at the end of each epoch.",
            )
    if not seen["cut"]:
        yield from restarts.found(rates, steps, passes, seen["asked_rate"], [one["name"] for one in seen["schedulers"]])
    if not seen["schedulers"] and gone is not None and gone < 0.5 * steps:
        yield attention(
            f"the learning rate falls from {peak:g} to below {_GONE * peak:g} after {gone} of {steps} steps",
            "",
            "Check the code that sets it.",
        )
    if peak == 0 and seen["bypassed"]:
        name = seen["bypassed"].partition(" ")[0]
        yield wrong(
            f"the learning rate is 0: {seen['bypassed']} wraps the optimizer and sets its rate, but the loop steps the "
            "optimizer itself, not the wrapper",
            seen["places"].get("step", ""),
            f"Call {name}.step() in place of {name}'s optimizer's step().",
        )
    elif peak == 0:
        yield wrong("the learning rate is 0", seen["places"].get("optimizer", ""), "Give the optimizer a rate.")


@check("loss reduction")
def reduction(seen: Seen) -> Iterator[Finding]:
    """Find a loss that is summed over the samples of a batch."""
    if seen["optimizers"] and any_length(seen) and not seen["gradients"]["clips"]:
        return
    # A sum that is divided before backward, as the models of transformers do, is none.
    highest = max((loss for loss in seen["losses"][:8] if loss is not None), default=0.0)
    for one in [one for one in seen["summed"] if highest >= 0.5 * one["sum"]][:1]:
        yield attention(
            f"{one['loss']} is summed over the {one['samples']} samples of a batch (reduction='sum'): its gradients "
            f"are {one['samples']} times as long as those of the mean, and so are the steps of optimizers like SGD",
            seen["places"].get("backward", ""),
            "Write reduction='mean', or divide the learning rate by the batch size.",
        )


@LOSS.check("loss values")
def losses(seen: Seen) -> Iterator[Finding]:
    """Find NaN or infinity."""
    yield from loss_values.judged(seen["losses"])
