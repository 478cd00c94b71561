"""Settings that promise what the training does not deliver: batches, validation, schedules, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.swallowed import BETWEEN

SCHEDULE = "learning rate schedule"
PROMISES = Checks()
check = PROMISES.check
_PL = "Lightning-AI/pytorch-lightning"
# With these, a length that equals the number of epochs means epochs; a warm-up of that many steps may be intended.
_WHOLE_COURSES = ("T_max", "total_steps")


@check("checkpoint to resume from", f"{_PL}#4184", f"{_PL}#1922")
def resumed(seen: Seen) -> Iterator[Finding]:
    """Find a checkpoint that has already completed the training that the Trainer is asked for."""
    found = seen.get("resumes")
    if not found:
        return
    epochs, steps = seen["trainer"].get("max_epochs"), seen["trainer"].get("max_steps")
    done = found.get("epochs")
    if found.get("missing"):
        yield wrong(
            f"fit resumes from {found['path']}, which does not exist",
            "ckpt_path",
            "Give the path of an existing checkpoint, or remove ckpt_path.",
        )
    elif done is not None and epochs not in (None, -1) and done >= epochs:
        yield wrong(
            f"fit resumes from {found['path']}, which has already completed {done} epochs, and max_epochs is "
            f"{epochs}: nothing is trained",
            f"ckpt_path={found['path']}",
            f"Set max_epochs above {done}, or remove ckpt_path to train from scratch.",
        )
    elif found.get("steps") and steps not in (None, -1) and found["steps"] >= steps:
        yield wrong(
            f"fit resumes from {found['path']}, which has already completed {found['steps']} steps, and max_steps "
            f"is {steps}: nothing is trained",
            f"ckpt_path={found['path']}",
            f"Set max_steps above {found['steps']}, or remove ckpt_path to train from scratch.",
        )


@check("batches per epoch", "pytorch/ignite#955")
def epochs(seen: Seen) -> Iterator[Finding]:
    """Find epochs that deliver fewer batches than promised, or none after the first."""
    if seen.get("error") or seen.get("stopped") or seen.get("skipped"):
        return
    course = list(seen.get("epochs", ()))
    # The doctor, or max_steps, may end the last epoch anywhere.
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
            f"Fix the exception that may have ended the epoch: {swallowed['type']} is raised in line "
            f"{swallowed['line']} and swallowed in line {swallowed['handler']}: {swallowed['message']}"
        )
    elif first["epoch"] == 0:
        remedy = (
            "Make the __iter__ of the dataset, sampler or loader yield as many items as its __len__ returns: a "
            "generator may return early, or the length may count something else."
        )
    else:
        remedy = (
            "Make the __iter__ of the loader or dataset create a new iterator on every call, without state from "
            "the previous one, and make __len__ return the true number."
        )
    whole_epochs = "epochs" if len(short) > 1 else "epoch"
    yield wrong(
        f"{len(short)} of {len(whole)} epochs get fewer batches than they should: epoch {first['epoch']} gets "
        f"{first['delivered']}{promised}",
        f"{whole_epochs} {which}",
        remedy,
    )


@check("epoch length", f"{_PL}#2150")
def endless(seen: Seen) -> Iterator[Finding]:
    """Find a loader without length or limit that still yields batches when the doctor stops."""
    course, settings = list(seen.get("epochs", ())), seen["trainer"]
    limited = settings.get("max_steps") not in (None, -1) or seen.get("arguments", {}).get("max_time")
    if seen.get("cut") and len(course) == 1 and course[0]["promised"] is None and not limited:
        yield attention(
            "the first epoch has no end in sight: the loader has no length, and still yields after "
            f"{course[0]['delivered']} batches",
            "validation, checkpoints and schedules run at the end of an epoch",
            "If the loader is endless, set limit_train_batches or max_steps, and val_check_interval; otherwise "
            "define __len__.",
        )


@check("empty loader")
def one_of_several(seen: Seen) -> Iterator[Finding]:
    """Find the empty loaders among several that are used together."""
    loaders = list(seen.get("loaders", ()))
    empty = [one for one in loaders if one["batches"] == 0 or one["samples"] == 0]
    if len(loaders) > 1 and empty:
        names = ", ".join(str(one["key"]) for one in empty)
        sizes = ", ".join(f"{one['key']}: {one['samples']} samples, {one['batches']} batches" for one in loaders)
        yield wrong(
            f"of {len(loaders)} training loaders, {names} is empty"
            + ("" if seen.get("batches") else ", and nothing is trained"),
            sizes,
            f"Check the path, filter or split that gives the dataset of {names} its samples.",
        )


@check("number of batches", f"{_PL}#11950")
def one_batch(seen: Seen) -> Iterator[Finding]:
    """Find settings where 1 means one batch, and 1.0 would mean all of them."""
    for name in ("limit_train_batches", "limit_val_batches", "overfit_batches"):
        value = seen.get("arguments", {}).get(name)
        batches = (seen.get("loader") or {}).get("batches")
        if type(value) is int and value == 1 and (name == "limit_val_batches" or batches is None or batches > 1):
            yield attention(
                f"{name}=1 means one batch per epoch" + (f", out of {batches}" if batches else ""),
                f"{name}=1",
                f"Write {name}=1.0 if you mean all batches.",
            )


@check("validation")
def validation(seen: Seen) -> Iterator[Finding]:
    """Find a validation that is set up but never due; the sanity check may be all that ran."""
    own = [name for name in seen.get("own_hooks", ()) if name == "validation_step"]
    if not own or seen.get("error") or not seen.get("batches") or seen.get("real_validation_batches"):
        return
    plan, settings = seen.get("plan", {}), seen["trainer"]
    sanity = "; only the sanity check before training ran" if seen.get("sanity_batches") else ""
    every, total = plan.get("val_every"), plan.get("total_batches")
    each = settings.get("check_val_every_n_epoch")
    if plan.get("val_time"):
        yield attention(
            f"validation never ran: it is due every {plan['val_time']:.0f} s, and the training is shorter{sanity}",
            "val_check_interval is a time",
            "Give a shorter time, or a number of batches.",
        )
    elif plan.get("val_across_epochs") and every and total is not None and every > total:
        yield wrong(
            f"validation never runs: it is due every {every} batches (val_check_interval), and the whole training "
            f"has {total}{sanity}",
            f"val_check_interval={every}, check_val_every_n_epoch=None",
            f"Set val_check_interval to at most {total}; until then, callbacks that monitor a validation metric "
            "save nothing.",
        )
    elif each and plan.get("epochs") and each > plan["epochs"]:
        yield wrong(
            f"validation never runs: it is due every {each} epochs, and the training has {plan['epochs']}{sanity}",
            f"check_val_every_n_epoch={each}, max_epochs={plan['epochs']}",
            f"Set check_val_every_n_epoch to at most {plan['epochs']}.",
        )
    elif seen["arguments"].get("limit_val_batches") == 0:
        yield attention("validation never ran", "limit_val_batches=0", "Remove limit_val_batches=0.")
    elif not seen.get("has_validation_loader"):
        yield attention(
            "validation never ran, although validation_step is defined: there is no validation loader",
            "val_dataloader",
            "Define val_dataloader, or pass a second loader to fit.",
        )
    elif not seen.get("cut"):
        yield attention(
            f"validation never ran, although validation_step is defined{sanity}",
            f"check_val_every_n_epoch={each}",
            "Check that the epoch ends as planned: validation follows the last batch that the loader promises.",
        )


@check(SCHEDULE, f"{_PL}#3869")
def schedules(seen: Seen) -> Iterator[Finding]:
    """Find a schedule whose length is in one unit and that is stepped in another, or never."""
    plan = seen.get("plan", {})
    whole = [one for one in seen.get("epochs", ()) if one["delivered"]]
    for one in seen.get("schedulers", ()):
        if not seen.get("automatic", True):
            if one["turns"] == 0 and len(whole) > 1 and not seen.get("error"):
                yield wrong(
                    f"{one['name']} is never stepped: under manual optimization, the Trainer steps no scheduler",
                    f"{len(whole)} epochs, 0 scheduler steps",
                    "Call self.lr_schedulers().step() in on_train_epoch_end, or after opt.step() if its length is "
                    "in steps.",
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
            f"{one['name']} has a length in steps ({one['by']}={length}) but is stepped once per epoch, {epochs} "
            f"times in all: it completes {100 * epochs / length:.0f} % of its course",
            f"interval={one['interval']}, {steps} steps in {epochs} epochs",
            'Write {"scheduler": scheduler, "interval": "step"} for lr_scheduler in configure_optimizers.',
        )
    elif one["interval"] == "epoch" and _of_whole_epochs(one, batches) and length > 2 * epochs / one["frequency"]:
        whole = f"{length / batches:.0f} epochs" if length > batches else "an epoch"
        yield attention(
            f"{one['name']} is {length} steps long ({one['by']}), the number of batches in {whole}, but is stepped "
            f"once per epoch, {epochs} times in all",
            f"interval={one['interval']}, {batches:.0f} batches per epoch",
            'If its length is in steps, write {"scheduler": scheduler, "interval": "step"} for lr_scheduler.',
        )
    elif one["interval"] == "step" and one["by"] in _WHOLE_COURSES and length == epochs and steps >= 4 * length:
        yield wrong(
            f"{one['name']} has a length in epochs ({one['by']}={length}) but is stepped in every training step: "
            f"it ends after {length} of {steps} steps",
            f"interval={one['interval']}, {steps} steps in {epochs} epochs",
            f'Write {one["by"]}=self.trainer.estimated_stepping_batches, or "interval": "epoch".',
        )


def _of_whole_epochs(one: Mapping[str, Any], batches: float) -> bool:
    """Return whether a schedule is as long as the batches of whole epochs, which is rarely a coincidence."""
    return one["by"] in _WHOLE_COURSES and batches >= 5 and one["length"] >= batches and one["length"] % batches == 0
