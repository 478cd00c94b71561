"""What trains at which rate, and how often: where the optimizers do otherwise than they were asked to."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

RATES = Checks()
check = RATES.check
_PL = "Lightning-AI/pytorch-lightning"
_SUDDENLY = 10
_MUCH = 0.3


@check("groups keep their rates", "shariqfarooq123/AdaBins#44")
def groups(seen: Seen) -> Iterator[Finding]:
    """Parameter groups that are given rates of their own, and a schedule that gives all the same one."""
    names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ())))
    for one in seen.get("groups", ()):
        asked, bases = one["asked"], one["bases"]
        if names and len(asked) == len(bases) and len(set(asked)) > 1 and len(set(bases)) == 1:
            given = ", ".join(f"{rate:g}" for rate in asked)
            yield attention(
                f"{names} gives all {len(bases)} parameter groups of {one['name']} the same learning rate, "
                f"{bases[0]:g}: those that they are made with are not used",
                f"the groups' own rates are {given}",
                f"Give the schedule a rate for each group, such as max_lr=[{given}].",
            )


@check("the first epoch trains", "meta-pytorch/torchtune#2010")
def first_epoch(seen: Seen) -> Iterator[Finding]:
    """A warm-up that is stepped once an epoch and begins at 0 leaves the first epoch untrained."""
    series, epochs = list(seen.get("rates", ())), list(seen.get("epochs", ()))
    if len(series) < 2 or series[0][1] or not epochs:
        return
    idle = int(series[1][0]) - int(series[0][0])
    first = epochs[0]["delivered"]
    # The epoch's last step already shows the next one's rate.
    if first > 1 and idle + 1 >= first:
        names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ()))) or "something"
        yield wrong(
            f"{names} keeps the learning rate at 0 for the whole first epoch: nothing is learnt in its {first} steps",
            f"the learning rate is 0 there, and {series[1][1]:g} afterwards",
            "Begin above 0, with (epoch + 1) in place of epoch; or, where the warm-up is meant in steps, write "
            '"interval": "step" for lr_scheduler.',
        )


@check("what max_steps counts", f"{_PL}#17958")
def counted(seen: Seen) -> Iterator[Finding]:
    """Under manual optimization max_steps counts the steps of all optimizers."""
    limit, steps, batches = seen["trainer"].get("max_steps"), seen.get("optimizer_steps", 0), seen.get("batches", 0)
    optimizers = len((seen.get("parameters") or {}).get("optimizers", ()))
    if seen.get("automatic", True) or seen.get("cut") or seen.get("error") or not batches or limit in (None, -1):
        return
    if steps >= limit and steps >= 2 * batches:
        each = round(steps / batches)
        of_whom = f"all {optimizers} optimizers" if optimizers > 1 else "the optimizer"
        yield attention(
            f"max_steps={limit} counts the steps of {of_whom}, {each} in each batch: the training ends after {batches} "
            "batches",
            f"{steps} optimizer steps in {batches} batches",
            f"Where {limit} batches are meant, give max_steps={each * limit}, or max_epochs in its place.",
        )


@check("what is accumulated is divided", f"{_PL}#14527", f"{_PL}#17957")
def accumulated(seen: Seen) -> Iterator[Finding]:
    """Gradients of several batches that are summed up by hand: the step is so many times as long."""
    did, batches = seen.get("updates") or {}, seen.get("batches", 0)
    backwards, steps = did.get("used", 0), did.get("steps", 0)
    if seen.get("automatic", True) or not steps or did.get("scaled") or backwards > batches:
        return
    # To these the length of the gradient makes no difference.
    if all("Adam" in name for name in (seen.get("parameters") or {}).get("optimizers", ())):
        return
    each = round(backwards / steps)
    if each > 1:
        yield attention(
            f"the gradients of {each} batches are summed up for each update and not divided: under manual "
            "optimization that is left to you, and the update is as long as with "
            f"{each} times the learning rate",
            f"{backwards} backward passes, {steps} updates",
            f"Divide the loss: self.manual_backward(loss / {each}).",
        )


@check("updates are not rounded away", "hp-l33/AiM#10")
def rounded(seen: Seen) -> Iterator[Finding]:
    """Weights in half precision that lie too far from 0 for steps of the learning rate's length."""
    found = seen.get("rounded_away")
    if found and found["share"] > _MUCH:
        yield wrong(
            f"weights are kept in {found['type']}, and steps of {found['rate']:g} are too small for "
            f"{100 * found['share']:.0f} % of them: rounding brings each back to what it was",
            f"{found['optimizer']} with lr={found['rate']:g}",
            'Give the Trainer precision="bf16-mixed", which keeps the weights in float32, or "32-true".',
        )


@check("averaging goes on at the schedule's rate", f"{_PL}#16540")
def averaging(seen: Seen) -> Iterator[Finding]:
    """A StochasticWeightAveraging that takes a decayed rate up again, and the loss with it."""
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
            f"{one['name']} takes the learning rate from {before[-1]:g}, to which the schedule has brought it, up to "
            f"{one['rate']:g} (swa_lrs) from epoch {one['epoch']} on, and the loss rises",
            f"swa_lrs={one['rate']:g}; loss {fmean(earlier):.4g} in the epoch before",
            f"Give swa_lrs about what the rate is by then: {before[-1]:g}.",
        )
