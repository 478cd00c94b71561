"""What settings promise and the training delivers: batches, validation, schedules, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.swallowed import BETWEEN

PROMISES = Checks()
check = PROMISES.check
_PL = "Lightning-AI/pytorch-lightning"
# Of these a length that equals the number of epochs means epochs; a warm-up of so many steps may be meant.
_WHOLE_COURSES = ("T_max", "total_steps")


@check("a checkpoint to go on from", f"{_PL}#4184", f"{_PL}#1922")
def resumed(seen: Seen) -> Iterator[Finding]:
    """A fit from a checkpoint that has done all that the Trainer is told to do trains nothing."""
    found = seen.get("resumes")
    if not found:
        return
    epochs, steps = seen["trainer"].get("max_epochs"), seen["trainer"].get("max_steps")
    done = found.get("epochs")
    if found.get("missing"):
        yield wrong(
            f"fit is to go on from {found['path']}, which is not there",
            "ckpt_path",
            "Give a file that exists, or none.",
        )
    elif done is not None and epochs not in (None, -1) and done >= epochs:
        yield wrong(
            f"fit goes on from {found['path']}, which has done {done} epochs already, and max_epochs is {epochs}: "
            f"nothing "
            "is trained",
            f"ckpt_path={found['path']}",
            f"Give max_epochs of more than {done}, or leave ckpt_path out to train anew.",
        )
    elif found.get("steps") and steps not in (None, -1) and found["steps"] >= steps:
        yield wrong(
            f"fit goes on from {found['path']}, which has done {found['steps']} steps already, and max_steps is "
            f"{steps}: "
            "nothing is trained",
            f"ckpt_path={found['path']}",
            f"Give max_steps of more than {found['steps']}, or leave ckpt_path out to train anew.",
        )


@check("every epoch gets its batches", "pytorch/ignite#955")
def epochs(seen: Seen) -> Iterator[Finding]:
    """Epochs that deliver fewer batches than promised, or none after the first."""
    if seen.get("error") or seen.get("stopped") or seen.get("skipped"):
        return
    course = list(seen.get("epochs", ()))
    # The doctor, or max_steps, ends the last one where it likes.
    whole = course[:-1] if seen.get("cut") or seen["trainer"].get("max_steps") not in (None, -1) else course
    short = [one for one in whole if one["promised"] is not None and one["delivered"] < one["promised"]]
    if not short and whole and whole[0]["delivered"]:
        short = [one for one in whole if not one["delivered"]]
    if not short:
        return
    first = short[0]
    promised = f" of {first['promised']} batches" if first["promised"] is not None else " batches"
    which = ", ".join(str(one["epoch"]) for one in short[:6])
    swallowed = next((one for one in seen.get("swallowed", ()) if one["hook"] == BETWEEN), None)
    if swallowed:
        remedy = (
            f"{swallowed['type']}, raised in line {swallowed['line']}, may have ended it: it is swallowed in line "
            f"{swallowed['handler']}. Mend what raises it: {swallowed['message']}"
        )
    elif first["epoch"] == 0:
        remedy = (
            "Look where the dataset's, sampler's or loader's __iter__ ends before its __len__ says: a generator that "
            "returns early, or a length that counts something else."
        )
    else:
        remedy = (
            "Have the loader's or dataset's __iter__ begin anew each time it is asked, with a new generator or "
            "iterator and nothing kept of the last one; and have __len__ tell the true number."
        )
    whole_epochs = "epochs" if len(short) > 1 else "epoch"
    yield wrong(
        f"{len(short)} of {len(whole)} epochs get fewer batches than they should: epoch {first['epoch']} gets "
        f"{first['delivered']}{promised}",
        f"{whole_epochs} {which}",
        remedy,
    )


@check("epochs end", f"{_PL}#2150")
def endless(seen: Seen) -> Iterator[Finding]:
    """A loader without length or limit that still yields when the doctor has seen enough."""
    course, settings = list(seen.get("epochs", ())), seen["trainer"]
    limited = settings.get("max_steps") not in (None, -1) or seen.get("arguments", {}).get("max_time")
    if seen.get("cut") and len(course) == 1 and course[0]["promised"] is None and not limited:
        yield attention(
            f"the first epoch has no end in sight: the loader has no length, and after {course[0]['delivered']} "
            f"batches it "
            "yields more",
            "validation, checkpoints and schedules come at the end of an epoch",
            "Where it is endless, give limit_train_batches or max_steps, and val_check_interval; else define __len__.",
        )


@check("which loader is empty")
def one_of_several(seen: Seen) -> Iterator[Finding]:
    """Of several loaders side by side, those that have nothing."""
    loaders = list(seen.get("loaders", ()))
    empty = [one for one in loaders if one["batches"] == 0 or one["samples"] == 0]
    if len(loaders) > 1 and empty:
        names = ", ".join(str(one["key"]) for one in empty)
        sizes = ", ".join(f"{one['key']}: {one['samples']} samples, {one['batches']} batches" for one in loaders)
        yield wrong(
            f"of {len(loaders)} training loaders {names} is empty"
            + ("" if seen.get("batches") else ", and nothing trains"),
            sizes,
            f"Look where the dataset of {names} gets its samples from: a path, a filter, a split.",
        )


@check("one batch or all", f"{_PL}#11950")
def one_batch(seen: Seen) -> Iterator[Finding]:
    """1 is a number of batches, 1.0 is all of them."""
    for name in ("limit_train_batches", "limit_val_batches", "overfit_batches"):
        value = seen.get("arguments", {}).get(name)
        batches = (seen.get("loader") or {}).get("batches")
        if type(value) is int and value == 1 and (name == "limit_val_batches" or batches is None or batches > 1):
            yield attention(
                f"{name}=1 means one batch of each epoch" + (f", of {batches}" if batches else ""),
                f"{name}=1",
                f"Write {name}=1.0 for all of them, if that is meant.",
            )


@check("validation comes")
def validation(seen: Seen) -> Iterator[Finding]:
    """Validation that is set up and never due: the sanity check may be all that ran."""
    own = [name for name in seen.get("own_hooks", ()) if name == "validation_step"]
    if not own or seen.get("error") or not seen.get("batches") or seen.get("real_validation_batches"):
        return
    plan, settings = seen.get("plan", {}), seen["trainer"]
    sanity = "; the sanity check before training is all that ran" if seen.get("sanity_batches") else ""
    every, total = plan.get("val_every"), plan.get("total_batches")
    each = settings.get("check_val_every_n_epoch")
    if plan.get("val_time"):
        yield attention(
            f"validation never ran: it is due every {plan['val_time']:.0f} s, and the training is shorter{sanity}",
            "val_check_interval as a time",
            "Give a shorter time, or a number of batches.",
        )
    elif plan.get("val_across_epochs") and every and total is not None and every > total:
        yield wrong(
            f"validation never comes: it is due every {every} batches (val_check_interval), and the whole training has "
            f"{total}{sanity}",
            f"val_check_interval={every}, check_val_every_n_epoch=None",
            f"Give val_check_interval of at most {total}; callbacks that monitor a validation metric keep nothing "
            f"till then.",
        )
    elif each and plan.get("epochs") and each > plan["epochs"]:
        yield wrong(
            f"validation never comes: it is due every {each} epochs, and the training has {plan['epochs']}{sanity}",
            f"check_val_every_n_epoch={each}, max_epochs={plan['epochs']}",
            f"Give check_val_every_n_epoch of at most {plan['epochs']}.",
        )
    elif seen["arguments"].get("limit_val_batches") == 0:
        yield attention("validation never ran", "limit_val_batches=0", "Take limit_val_batches=0 out.")
    elif not seen.get("has_validation_loader"):
        yield attention(
            "validation never ran, though validation_step is defined: there is no validation loader",
            "val_dataloader",
            "Define val_dataloader, or give fit a second loader.",
        )
    elif not seen.get("cut"):
        yield attention(
            f"validation never ran, though validation_step is defined{sanity}",
            f"check_val_every_n_epoch={each}",
            "See whether the epoch ends as planned: validation comes after the last batch that the loader promises.",
        )


@check("schedules fit the training", f"{_PL}#3869")
def schedules(seen: Seen) -> Iterator[Finding]:
    """A schedule that is reckoned in one unit and stepped in another, or never stepped."""
    plan = seen.get("plan", {})
    whole = [one for one in seen.get("epochs", ()) if one["delivered"]]
    for one in seen.get("schedulers", ()):
        if not seen.get("automatic", True):
            if one["turns"] == 0 and len(whole) > 1 and not seen.get("error"):
                yield wrong(
                    f"{one['name']} is never stepped: under manual optimization Lightning steps no scheduler",
                    f"{len(whole)} epochs, 0 turns",
                    "Call self.lr_schedulers().step() in on_train_epoch_end, or after opt.step() where it is "
                    "reckoned in "
                    "steps.",
                )
        else:
            yield from _in_unit(one, plan)


def _in_unit(one: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[Finding]:
    length, epochs, steps = one["length"], plan.get("epochs"), plan.get("steps")
    if not (length and epochs and steps and one["ends"]) or steps <= epochs:
        return
    batches = steps / epochs
    by_steps = abs(length - steps) <= 0.1 * steps or (
        one["by"] == "total_steps" and length >= steps and length % max(1, round(batches)) == 0
    )
    if one["interval"] == "epoch" and by_steps and length > 2 * epochs / one["frequency"]:
        yield wrong(
            f"{one['name']} is reckoned in steps ({one['by']}={length}) and stepped once an epoch, {epochs} times in "
            f"all: it "
            f"gets {100 * epochs / length:.0f} % of its way",
            f"interval={one['interval']}, {steps} steps in {epochs} epochs",
            'Write {"scheduler": scheduler, "interval": "step"} for lr_scheduler in configure_optimizers.',
        )
    elif one["interval"] == "epoch" and _of_whole_epochs(one, batches) and length > 2 * epochs / one["frequency"]:
        yield attention(
            f"{one['name']} is {length} turns long ({one['by']}), which is the batches of {length / batches:.0f} "
            f"epochs, and "
            f"is stepped once an epoch, {epochs} times in all",
            f"interval={one['interval']}, {batches:.0f} batches an epoch",
            'If it is reckoned in steps, write {"scheduler": scheduler, "interval": "step"} for lr_scheduler.',
        )
    elif one["interval"] == "step" and one["by"] in _WHOLE_COURSES and length == epochs and steps >= 4 * length:
        yield wrong(
            f"{one['name']} is reckoned in epochs ({one['by']}={length}) and stepped each step: it is through after "
            f"{length} of {steps} steps",
            f"interval={one['interval']}, {steps} steps in {epochs} epochs",
            f'Write {one["by"]}=self.trainer.estimated_stepping_batches, or "interval": "epoch".',
        )


def _of_whole_epochs(one: Mapping[str, Any], batches: float) -> bool:
    """Whether a schedule is as long as a few whole epochs have batches, which is seldom by chance."""
    return one["by"] in _WHOLE_COURSES and batches >= 5 and one["length"] >= batches and one["length"] % batches == 0
