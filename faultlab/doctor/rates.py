"""Learning rates and update counts that differ from what the user asked for."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from faultlab.doctor import milestones, momentum
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

RATES = Checks()
check = RATES.check
_PL = "Lightning-AI/pytorch-lightning"
_SUDDENLY = 10
_MUCH = 0.3
_TOO_LONG = 0.1
"""A step of Adam this long crosses the size of ordinary weights."""


check("momentum", "YudeWang/SEAM#21")(momentum.swapped)
check("milestones", "Pointcept/Pointcept#379")(milestones.unreached)


@check("parameter groups", "shariqfarooq123/AdaBins#44")
def groups(seen: Seen) -> Iterator[Finding]:
    """Find parameter groups with their own rates, and a schedule that gives them all the same one."""
    names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ())))
    for one in seen.get("groups", ()):
        asked, bases = one["asked"], one["bases"]
        if names and len(asked) == len(bases) and len(set(asked)) > 1 and len(set(bases)) == 1:
            given = ", ".join(f"{rate:g}" for rate in asked)
            yield attention(
                f"{names} gives all {len(bases)} parameter groups of {one['name']} the same learning rate, "
                f"{bases[0]:g}: their own rates are not used",
                f"the groups' own rates: {given}",
                f"Give the schedule one rate per group, such as max_lr=[{given}].",
            )


@check("warm-up", "meta-pytorch/torchtune#2010")
def first_epoch(seen: Seen) -> Iterator[Finding]:
    """Find a warm-up from 0 that is stepped once per epoch, so that the first epoch trains nothing."""
    series, epochs = list(seen.get("rates", ())), list(seen.get("epochs", ()))
    if len(series) < 2 or series[0][1] or not epochs:
        return
    idle = int(series[1][0]) - int(series[0][0])
    first = epochs[0]["delivered"]
    # The epoch's last step already shows the next epoch's rate.
    if first > 1 and idle + 1 >= first:
        names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ()))) or "your code"
        yield wrong(
            f"{names} keeps the learning rate at 0 for the whole first epoch: nothing is learned in its {first} steps",
            f"the learning rate is 0 there, and {series[1][1]:g} afterwards",
            'Start above 0, with (epoch + 1) instead of epoch; or, if the warm-up is in steps, write "interval": '
            '"step" for lr_scheduler.',
        )


@check("warm-up", "ace-step/ACE-Step#198")
def unfinished(seen: Seen) -> Iterator[Finding]:
    """Find a warm-up that is counted in epochs and not over when the training ends."""
    for one in seen.get("schedulers", ()):
        found = one.get("reaches")
        if not found or one["interval"] != "epoch" or not seen.get("automatic", True):
            continue
        if 0 < found["highest"] < _MUCH * found["later"]:
            yield wrong(
                f"{one['name']} is stepped once per epoch and its warm-up is not over when the training ends: in its "
                f"{found['turns']} epochs the rate gets to {100 * found['highest'] / found['later']:.0f} % of what it "
                "rises to",
                f"interval={one['interval']}",
                'If the warm-up is in steps, write "interval": "step" beside "scheduler" in lr_scheduler; otherwise '
                "shorten it.",
            )


@check("optimizer settings")
def unusual(seen: Seen) -> Iterator[Finding]:
    """Find rates and decays far out of the range in which the optimizer works."""
    for one in seen.get("groups", ()):
        rate, adam = max(one["asked"], default=0.0), "Adam" in one["name"]
        if (adam and rate >= _TOO_LONG) or rate >= 10:
            yield attention(
                f"the learning rate of {one['name']} is {rate:g}: each step changes each weight by about that much"
                if adam
                else f"the learning rate of {one['name']} is {rate:g}",
                f"lr={rate:g}",
                f"Start with lr={1e-3 if adam else 1e-2:g}.",
            )
        if one.get("decay", 0.0) >= 0.5 * max(1.0, 1e-3 / max(rate, 1e-9)):
            yield attention(
                f"weight_decay={one['decay']:g} of {one['name']} pulls the weights to 0 about as strongly as the loss "
                "moves them",
                f"weight_decay={one['decay']:g}",
                "Start with weight_decay=1e-4 (Adam, SGD) or 1e-2 (AdamW).",
            )


@check("max_steps", f"{_PL}#17958")
def counted(seen: Seen) -> Iterator[Finding]:
    """Find a max_steps that is used up early: under manual optimization it counts the steps of all optimizers."""
    limit, steps, batches = seen["trainer"].get("max_steps"), seen.get("optimizer_steps", 0), seen.get("batches", 0)
    optimizers = len((seen.get("parameters") or {}).get("optimizers", ()))
    if seen.get("automatic", True) or seen.get("cut") or seen.get("error") or not batches or limit in (None, -1):
        return
    if steps >= limit and steps >= 2 * batches:
        each = round(steps / batches)
        of_whom = f"all {optimizers} optimizers" if optimizers > 1 else "the optimizer"
        yield attention(
            f"max_steps={limit} counts the steps of {of_whom}, {each} in each batch: the training ends after "
            f"{batches} batches",
            f"{steps} optimizer steps in {batches} batches",
            f"If you mean {limit} batches, set max_steps={each * limit}, or use max_epochs.",
        )


@check("gradient accumulation", f"{_PL}#14527", f"{_PL}#17957")
def accumulated(seen: Seen) -> Iterator[Finding]:
    """Find gradients of several batches that are summed by hand, which makes the step that many times as long."""
    did, batches = seen.get("updates") or {}, seen.get("batches", 0)
    backwards, steps = did.get("used", 0), did.get("steps", 0)
    if seen.get("automatic", True) or not steps or did.get("scaled") or backwards > batches:
        return
    # The length of the gradient makes no difference to these.
    if all("Adam" in name for name in (seen.get("parameters") or {}).get("optimizers", ())):
        return
    each = round(backwards / steps)
    if each > 1:
        yield attention(
            f"the gradients of {each} batches are summed for each update and not divided: manual optimization "
            f"leaves that to you, and the update is as long as with {each} times the learning rate",
            f"{backwards} backward passes, {steps} updates",
            f"Divide the loss: self.manual_backward(loss / {each}).",
        )


@check("update rounding", "hp-l33/AiM#10")
def rounded(seen: Seen) -> Iterator[Finding]:
    """Find half-precision weights that are too far from 0 for steps of the learning rate's size."""
    found = seen.get("rounded_away")
    if found and found["share"] > _MUCH:
        yield wrong(
            f"weights are stored in {found['type']}, and steps of {found['rate']:g} are too small for "
            f"{100 * found['share']:.0f} % of them: rounding undoes each update",
            f"{found['optimizer']} with lr={found['rate']:g}",
            'Pass precision="bf16-mixed" to the Trainer, which keeps the weights in float32, or "32-true".',
        )


@check("weight averaging", f"{_PL}#16540")
def averaging(seen: Seen) -> Iterator[Finding]:
    """Find a StochasticWeightAveraging that raises a decayed rate again, and the loss with it."""
    batches, losses = seen.get("plan", {}).get("batches"), list(seen.get("losses", ()))
    for one in seen.get("attendants", {}).get("averaging", ()):
        begins = one["epoch"] * (batches or 0)
        before = [rate for step, rate in seen.get("rates", ()) if step < begins]
        if not begins or len(losses) <= begins or not before or one["rate"] < _SUDDENLY * before[-1]:
            continue
        earlier, later = losses[max(0, begins - batches) : begins], losses[begins:]
        if None in earlier or (None not in later and fmean(later) <= fmean(earlier)):
            continue
        yield attention(
            f"{one['name']} raises the learning rate from {before[-1]:g}, where the schedule has brought it, to "
            f"{one['rate']:g} (swa_lrs) from epoch {one['epoch']} on, and the loss rises",
            f"swa_lrs={one['rate']:g}; loss {fmean(earlier):.4g} in the epoch before",
            f"Set swa_lrs to about the rate at that point: {before[-1]:g}.",
        )
