"""Settings that never act in this training: callbacks that start after its end, learning rates that are not used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultlab.doctor import ending
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

IDLE = Checks()
check = IDLE.check
_AT_THE_LEAST = 10
# Words in metric names that show which direction is better.
_RISING = {"acc", "accuracy", "auc", "auroc", "f1", "iou", "miou", "dice", "precision", "recall", "psnr", "ssim"}
_FALLING = {"loss", "error", "mse", "mae", "rmse", "nll", "perplexity"}
_BEFORE_THE_FIRST_BATCH = ("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_validation_end")


@check("callbacks")
def begins(seen: Seen) -> Iterator[Finding]:
    """Find a callback that waits for an epoch that never comes."""
    epochs = seen.get("plan", {}).get("epochs")
    for entry in _of_callbacks(seen, "starts"):
        if epochs and entry["epoch"] >= epochs:
            yield attention(
                f"{entry['name']} never acts: it starts in epoch {entry['epoch']}, counted from 0, and the training "
                f"has {epochs}",
                f"{entry['argument']}, max_epochs={epochs}",
                f"Set {entry['argument'].partition('=')[0]} below {epochs}, or increase max_epochs.",
            )


@check("checkpoints", "vislearn/FFF#4")
def checkpoints(seen: Seen) -> Iterator[Finding]:
    """Find a ModelCheckpoint that waits for more epochs or steps than there are."""
    plan = seen.get("plan", {})
    for entry in _of_callbacks(seen, "checkpoints"):
        unit = "epochs" if entry["argument"] == "every_n_epochs" else "steps"
        total = plan.get(unit)
        if total and entry["every"] > total:
            yield attention(
                f"{entry['name']} never saves: it is due every {entry['every']} {unit} ({entry['argument']}), and "
                f"the whole training has {total}; neither save_last nor save_top_k changes that",
                f"{entry['argument']}={entry['every']}, {total} {unit}",
                f"Set {entry['argument']} to at most {total}, or remove it.",
            )


@check("patience", "mittagessen/kraken#705")
def patience(seen: Seen) -> Iterator[Finding]:
    """Find an EarlyStopping whose patience exceeds the number of checks, because not every epoch is validated."""
    epochs, each = seen.get("plan", {}).get("epochs"), seen.get("trainer", {}).get("check_val_every_n_epoch")
    for entry in _of_callbacks(seen, "patience"):
        if epochs and each and each > 1 and epochs // each <= entry["checks"] < epochs:
            yield attention(
                f"{entry['name']} can't stop this training: its patience of {entry['checks']} counts validations, "
                f"and there are {epochs // each}, one every {each} epochs",
                f"patience={entry['checks']}, check_val_every_n_epoch={each}, max_epochs={epochs}",
                f"Divide the patience that you mean in epochs by {each}.",
            )


@check("patience within an epoch", "Lightning-AI/pytorch-lightning#17736")
def impatient(seen: Seen) -> Iterator[Finding]:
    """Find an EarlyStopping whose patience can run out within one epoch."""
    plan = seen.get("plan", {})
    batches, every = plan.get("batches"), plan.get("val_every")
    if not batches or not every or plan.get("val_across_epochs"):
        return
    for entry in _of_callbacks(seen, "patience"):
        each = batches // every
        if each > 1 and entry["checks"] < each:
            yield attention(
                f"{entry['name']} may stop within an epoch: its patience of {entry['checks']} counts validations, "
                f"and each epoch has {each}",
                f"patience={entry['checks']}, val_check_interval={every} batches of {batches}",
                f"Multiply the patience that you mean in epochs by {each}.",
            )


@check("monitored metrics", "Lightning-AI/pytorch-lightning#8455")
def monitored(seen: Seen) -> Iterator[Finding]:
    """Find a callback of the script, left out by the doctor, that monitors a metric that is never logged."""
    known = list(seen.get("monitored", ()))
    if seen.get("error") or not seen.get("real_validation_batches"):
        return
    for entry in _of_callbacks(seen, "monitors"):
        if "val" in entry["key"] and entry["key"] not in known:
            past = ending.logged_past(seen, entry["key"])
            yield wrong(
                f"{entry['name']} monitors {entry['key']}, which no step logs" + (f": {past.cause}" if past else ""),
                f"logged: {', '.join(known) or 'nothing'}",
                past.remedy if past else f'Call self.log("{entry["key"]}", value) in validation_step.',
            )


@check("monitor modes", "IDSIA/brainstorm#91", "mila-iqia/cookiecutter-pyml#119")
def directions(seen: Seen) -> Iterator[Finding]:
    """Find a callback that takes a rising score or a falling loss as getting worse."""
    for entry in _of_callbacks(seen, "monitors"):
        words = set(re.split(r"[^a-z0-9]+", entry["key"].lower().replace("_", " ")))
        rises, falls = bool(words & _RISING), bool(words & _FALLING)
        right = "max" if rises else "min"
        if rises != falls and entry["mode"] not in ("", right):
            taken, meant = ("smaller", "larger") if rises else ("larger", "smaller")
            yield attention(
                f"{entry['name']} takes a {taken} {entry['key']} as better (mode={entry['mode']!r}), but by its "
                f"name, {meant} is better",
                f"monitor={entry['key']!r}, mode={entry['mode']!r}",
                f"Set mode={right!r}.",
            )


@check("learning rate search", "pytorch-tabular/pytorch_tabular#538")
def searched(seen: Seen) -> Iterator[Finding]:
    """Find a learning rate search whose result is not used, because the optimizer gets a literal number."""
    searches = [entry for entry in seen.get("scripts", ()) if entry["call"] == "lr_find"]
    for entry in seen.get("facts", {}).get("literal_rates", ()) if searches else ():
        yield wrong(
            "the learning rate that lr_find finds is not used: configure_optimizers passes the number "
            f"lr={entry['rate']:g} to the optimizer",
            f"{entry['file']}:{entry['line']}, lr_find in {searches[0]['file']}:{searches[0]['line']}",
            "Write lr=self.lr in configure_optimizers, and set self.lr in __init__: this is what lr_find changes.",
        )


@check("learning rate", "Lightning-AI/pytorch-lightning#18570")
def rates(seen: Seen) -> Iterator[Finding]:
    """Find a schedule that ends long before the training does."""
    series, steps = list(seen.get("rates", ())), int(seen.get("batches", 0))
    if (seen.get("parameters") or {}).get("largest_rate") != 0 or steps < _AT_THE_LEAST:
        return
    last = max((index for index, (_, rate) in enumerate(series) if rate), default=None)
    if last is None or last + 1 >= len(series):
        return  # a rate that is 0 from the beginning is reported with the weights
    begins = int(series[last + 1][0]) + 1
    if begins > steps / 2:
        return
    names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ()))) or "your code"
    by_step = any(one["interval"] == "step" for one in seen.get("schedulers", ()))
    say = attention if seen.get("cut") else wrong
    yield say(
        f"{names} brings the learning rate to 0 in step {begins} of {steps}; nothing is learned from there on",
        f"{steps - begins} steps with a learning rate of 0",
        "Give its length in steps: self.trainer.estimated_stepping_batches; or, if it is in epochs, write "
        '"interval": "epoch".'
        if by_step
        else "Make it as long as the training: self.trainer.max_epochs if it is stepped once per epoch.",
    )


@check("validation mode", "airctic/icevision#1100")
def modes(seen: Seen) -> Iterator[Finding]:
    """Find layers that are put into training mode while Lightning validates."""
    if layers := list(seen.get("trains_in_validation", ())):
        yield attention(
            f"validation runs in training mode: {', '.join(layers)} drop values or learn statistics from the "
            "validation data",
            "set by the module's own validation_step or code that it calls, after the Trainer's model.eval()",
            "Remove self.train() or .train() from what validation_step calls; the Trainer switches modes itself.",
        )


@check("training mode", "Lightning-AI/pytorch-lightning#20573")
def resting(seen: Seen) -> Iterator[Finding]:
    """Find layers that arrive in evaluation mode, as from_pretrained leaves them; Lightning does not switch them."""
    layers = list(seen.get("rests_in_training", ()))
    hooks = [name for name in seen.get("own_hooks", ()) if name in _BEFORE_THE_FIRST_BATCH]
    if layers and hooks and not set(layers) & set(seen.get("rested_before", layers)):
        yield wrong(
            f"{', '.join(layers)} train in evaluation mode: dropout drops nothing and norms learn no statistics; they "
            "were in training mode when fit began",
            f"set by {' or '.join(hooks)}, or code that it calls, before the first step",
            f"Call self.train() at the end of {' and '.join(hooks)}, or remove .eval() there.",
        )
    elif later := [one for one in seen.get("rests_later", ()) if one not in seen.get("rested_before", ())]:
        by = dict(seen.get("rested_by", {}))
        where = " and ".join(by) or "the hook that does it"
        when = "before the loss is computed" if "training_step" in by else f"at the end of {where}"
        yield wrong(
            f"{', '.join(later)} train in evaluation mode after the first step: dropout drops nothing and norms learn "
            "no statistics; the Trainer does not put them back",
            f"eval() in {', '.join(by.values())}" if by else "their .training is False in a later step",
            f"Remove .eval() in {where}, or call self.train() {when}.",
        )
    elif layers:
        yield attention(
            f"{', '.join(layers)} train in evaluation mode: dropout drops nothing and norms learn no statistics, "
            "while the weights around them are trained",
            "their .training is False in the first step; the Trainer keeps each layer's mode from before fit",
            "Call .train() on the part to train before fit, or freeze its weights too if it should stay as it is.",
        )


@check("dependent options")
def options(seen: Seen) -> Iterator[Finding]:
    """Find an option without effect because another one is missing."""
    given = seen.get("arguments", {})
    if given.get("gradient_clip_algorithm") and not given.get("gradient_clip_val"):
        yield attention(
            f"gradient_clip_algorithm={given['gradient_clip_algorithm']!r} has no effect without gradient_clip_val",
            "nothing is clipped",
            "Set gradient_clip_val too.",
        )


def _of_callbacks(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return list(seen.get("attendants", {}).get(kind, ()))
