"""What is set up and never acts in this training: callbacks that begin after its end, rates that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultlab.doctor import ending
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

IDLE = Checks()
check = IDLE.check
_AT_THE_LEAST = 10
# Words of metrics' names that tell which way is better.
_RISING = {"acc", "accuracy", "auc", "auroc", "f1", "iou", "miou", "dice", "precision", "recall", "psnr", "ssim"}
_FALLING = {"loss", "error", "mse", "mae", "rmse", "nll", "perplexity"}


@check("callbacks begin before the end")
def begins(seen: Seen) -> Iterator[Finding]:
    """A callback that waits for an epoch that never comes."""
    epochs = seen.get("plan", {}).get("epochs")
    for entry in _of_callbacks(seen, "starts"):
        if epochs and entry["epoch"] >= epochs:
            yield attention(
                f"{entry['name']} never acts: it begins in epoch {entry['epoch']}, counted from 0, and the training "
                f"has {epochs}",
                f"{entry['argument']}, max_epochs={epochs}",
                f"Give {entry['argument'].partition('=')[0]} an epoch below {epochs}, or a larger max_epochs.",
            )


@check("checkpoints come", "vislearn/FFF#4")
def checkpoints(seen: Seen) -> Iterator[Finding]:
    """A ModelCheckpoint that waits for more epochs or steps than there are."""
    plan = seen.get("plan", {})
    for entry in _of_callbacks(seen, "checkpoints"):
        unit = "epochs" if entry["argument"] == "every_n_epochs" else "steps"
        total = plan.get(unit)
        if total and entry["every"] > total:
            yield attention(
                f"{entry['name']} never saves: it does so every {entry['every']} {unit} ({entry['argument']}), and the "
                f"whole training has {total}; neither save_last nor save_top_k changes that",
                f"{entry['argument']}={entry['every']}, {total} {unit}",
                f"Give {entry['argument']} of at most {total}, or leave it out.",
            )


@check("patience is counted in validations", "mittagessen/kraken#705")
def patience(seen: Seen) -> Iterator[Finding]:
    """An EarlyStopping whose patience is longer than all checks, since not every epoch is validated."""
    epochs, each = seen.get("plan", {}).get("epochs"), seen.get("trainer", {}).get("check_val_every_n_epoch")
    for entry in _of_callbacks(seen, "patience"):
        if epochs and each and each > 1 and epochs // each <= entry["checks"] < epochs:
            yield attention(
                f"{entry['name']} can't stop this training: its patience of {entry['checks']} counts validations, and "
                f"there are {epochs // each}, one every {each} epochs",
                f"patience={entry['checks']}, check_val_every_n_epoch={each}, max_epochs={epochs}",
                f"Divide the patience that you mean in epochs by {each}.",
            )


@check("patience outlasts an epoch", "Lightning-AI/pytorch-lightning#17736")
def impatient(seen: Seen) -> Iterator[Finding]:
    """An EarlyStopping that several validations in one epoch use up."""
    plan = seen.get("plan", {})
    batches, every = plan.get("batches"), plan.get("val_every")
    if not batches or not every or plan.get("val_across_epochs"):
        return
    for entry in _of_callbacks(seen, "patience"):
        each = batches // every
        if each > 1 and entry["checks"] < each:
            yield attention(
                f"{entry['name']} may stop within an epoch: its patience of {entry['checks']} counts validations, and "
                f"there are {each} in each epoch",
                f"patience={entry['checks']}, val_check_interval={every} batches of {batches}",
                f"Multiply the patience that you mean in epochs by {each}.",
            )


@check("monitored metrics are logged", "Lightning-AI/pytorch-lightning#8455")
def monitored(seen: Seen) -> Iterator[Finding]:
    """A callback of the script's, which the doctor leaves out, that waits for a metric that nobody logs."""
    known = list(seen.get("monitored", ()))
    if seen.get("error") or not seen.get("real_validation_batches"):
        return
    for entry in _of_callbacks(seen, "monitors"):
        if "val" in entry["key"] and entry["key"] not in known:
            past = ending.logged_past(seen, entry["key"])
            yield wrong(
                f"{entry['name']} waits for {entry['key']}, which no step logs" + (f": {past.cause}" if past else ""),
                f"logged are {', '.join(known) or 'none'}",
                past.remedy if past else f'Call self.log("{entry["key"]}", value) in validation_step.',
            )


@check("monitors look the right way", "IDSIA/brainstorm#91", "mila-iqia/cookiecutter-pyml#119")
def directions(seen: Seen) -> Iterator[Finding]:
    """A callback that takes a rising score, or a falling loss, for getting worse."""
    for entry in _of_callbacks(seen, "monitors"):
        words = set(re.split(r"[^a-z0-9]+", entry["key"].lower().replace("_", " ")))
        rises, falls = bool(words & _RISING), bool(words & _FALLING)
        right = "max" if rises else "min"
        if rises != falls and entry["mode"] not in ("", right):
            taken, meant = ("smaller", "larger") if rises else ("larger", "smaller")
            yield attention(
                f"{entry['name']} takes {entry['key']} for better the {taken} it is (mode={entry['mode']!r}); by its "
                f"name it is better the {meant}",
                f"monitor={entry['key']!r}, mode={entry['mode']!r}",
                f"Give it mode={right!r}.",
            )


@check("the rate that is found is used", "pytorch-tabular/pytorch_tabular#538")
def searched(seen: Seen) -> Iterator[Finding]:
    """A search for a learning rate, and an optimizer that is given another one as a number."""
    searches = [entry for entry in seen.get("scripts", ()) if entry["call"] == "lr_find"]
    for entry in seen.get("facts", {}).get("literal_rates", ()) if searches else ():
        yield wrong(
            f"the learning rate that lr_find finds is not used: configure_optimizers gives the optimizer "
            f"lr={entry['rate']:g} as a number",
            f"{entry['file']}:{entry['line']}, lr_find in {searches[0]['file']}:{searches[0]['line']}",
            "Write lr=self.lr in configure_optimizers, with self.lr set in __init__: that is what lr_find changes.",
        )


@check("the learning rate stays above 0", "Lightning-AI/pytorch-lightning#18570")
def rates(seen: Seen) -> Iterator[Finding]:
    """A schedule that is through long before the training is."""
    series, steps = list(seen.get("rates", ())), int(seen.get("batches", 0))
    if (seen.get("parameters") or {}).get("largest_rate") != 0 or steps < _AT_THE_LEAST:
        return
    last = max((index for index, (_, rate) in enumerate(series) if rate), default=None)
    if last is None or last + 1 >= len(series):
        return  # 0 from the beginning is said of the weights
    begins = int(series[last + 1][0]) + 1
    if begins > steps / 2:
        return
    names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ()))) or "something"
    by_step = any(one["interval"] == "step" for one in seen.get("schedulers", ()))
    say = attention if seen.get("cut") else wrong
    yield say(
        f"{names} brings the learning rate to 0 in step {begins} of {steps}; nothing is learnt from there on",
        f"{steps - begins} steps with a learning rate of 0",
        "Reckon its length in steps: self.trainer.estimated_stepping_batches; or, where it is meant in epochs, write "
        '"interval": "epoch".'
        if by_step
        else "Make it as long as the training: self.trainer.max_epochs where it is stepped once an epoch.",
    )


@check("validation is in evaluation mode", "airctic/icevision#1100")
def modes(seen: Seen) -> Iterator[Finding]:
    """Layers that are put into training mode while Lightning validates."""
    if layers := list(seen.get("trains_in_validation", ())):
        yield attention(
            f"validation runs in training mode: {', '.join(layers)} drop values or learn statistics of the validation "
            "data",
            "put there by the module's own validation_step or what it calls, after Lightning's model.eval()",
            "Take self.train() or .train() out of what validation_step calls; Lightning changes modes by itself.",
        )


@check("training is in training mode", "Lightning-AI/pytorch-lightning#20573")
def resting(seen: Seen) -> Iterator[Finding]:
    """Layers that came in evaluation mode, as from_pretrained leaves them, and that Lightning leaves as they are."""
    if layers := list(seen.get("rests_in_training", ())):
        yield attention(
            f"{', '.join(layers)} train in evaluation mode: dropout drops nothing, norms learn no statistics, while "
            "the weights around them are trained",
            "their .training is False in the first step; Lightning keeps each layer's mode as it was before fit",
            "Call .train() of what is to be trained before fit, or freeze it too if it is meant to stay as it is.",
        )


@check("options go together")
def options(seen: Seen) -> Iterator[Finding]:
    """An option that another one is needed for."""
    given = seen.get("arguments", {})
    if given.get("gradient_clip_algorithm") and not given.get("gradient_clip_val"):
        yield attention(
            f"gradient_clip_algorithm={given['gradient_clip_algorithm']!r} has no effect without gradient_clip_val",
            "nothing is clipped",
            "Give gradient_clip_val too.",
        )


def _of_callbacks(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return list(seen.get("attendants", {}).get(kind, ()))
