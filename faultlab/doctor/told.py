"""Warnings of Lightning and torch during the training, and wrong inputs of losses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from faultlab.doctor.errors import explained
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

TOLD = Checks()
# Shown in healthy trainings, or caused by the doctor's own settings.
_QUIET = re.compile(
    r"does not have many workers|is smaller than the logging interval|exists and is not empty|GPU available|"
    r"TypedStorage|LOCAL_RANK|litlogger|Tip|tip:|you can use|Missing logger folder|srun|DeprecationWarning|"
    r"FutureWarning|PendingDeprecation|ResourceWarning|GuardWarning|in eval mode at the start|ipywidgets|"
    r"pin_memory|infer the indices fetched|Starting from v|torchvision|tensorboardX|TensorBoard support|"
    r"Checkpoint directory|barebones|suboptimal|trust_remote|isinstance\(treespec|`max_epochs` was not set|"
    r"no `val_dataloader`|defined a `validation_step` but have no|None in \d|yielded None|returned `None`|"
    r"`IterableDataset` has `__len__` defined|"
    r"stopped:|signaled Trainer to stop|Experiment logs|Metric .* improved|Restor|overrid\w+ .*sampler",
    re.IGNORECASE | re.DOTALL,
)
_MEANT = {
    r"`OneCycleLR` scheduler is using 'interval': 'epoch'": (
        "OneCycleLR has a length in steps but is stepped once per epoch",
        'Write {"scheduler": scheduler, "interval": "step"} for lr_scheduler in configure_optimizers.',
    ),
    r"Found unsupported keys in the (?P<what>[\w ]+): (?P<keys>[^.]+)": (
        "a key of the {what} is ignored: {keys}",
        'Put "interval", "frequency" and "monitor" into the dict under "lr_scheduler", beside "scheduler".',
    ),
    r"Found unsupported keys in the lr scheduler dict: (?P<keys>.+)": (
        "keys of the lr_scheduler dict are ignored: {keys}",
        "Check their spelling: scheduler, interval, frequency, monitor, strict, name.",
    ),
    r"Detected call of `lr_scheduler\.step\(\)` before `optimizer\.step\(\)`": (
        "the schedule is stepped before the optimizer, so its first rate is skipped",
        "Call scheduler.step() after opt.step(); under automatic optimization call neither.",
    ),
    r"You have overridden `?(?P<hook>transfer_batch_to_device|on_after_batch_transfer)": (
        "{hook} is overridden in two places",
        "Define it in the module or in the data module.",
    ),
    r"Total length of `?(?P<what>[\w ]*(?:DataLoader|CombinedLoader))`? across ranks is zero": (
        "the {what} is empty",
        "Check where its dataset gets its samples from.",
    ),
    r"You passed in a `val_dataloader` but have no `validation_step`": (
        "there is a validation loader but no validation_step: validation is skipped",
        "Define validation_step, and check its spelling and indentation.",
    ),
    r"`training_step` returned `None`": ("training_step returns None in some steps", "Return the loss."),
    r"you tried to log (?P<what>\S+) in `?(?P<hook>\w+)`?": (
        "{what} is not logged in {hook}",
        "Log it in another hook.",
    ),
    r"`ModelCheckpoint\(monitor='(?P<key>[^']+)'\)` could not find the monitored key": (
        "ModelCheckpoint monitors {key}, which no step logs",
        'Call self.log("{key}", value), or set monitor to a logged metric.',
    ),
}


@TOLD.check("loss inputs", "ariecattan/SciCo#2")
def losses(seen: Seen) -> Iterator[Finding]:
    """Find activations that a loss applies itself, missing logarithms, shapes that broadcast."""
    for entry in seen.get("compared", ()):
        name, before = entry["loss"], entry.get("before", "")
        if entry["kind"] == "twice" and before == "relu":
            yield attention(
                f"{name} gets the output of a ReLU: all logits below 0 become 0",
                name,
                "Remove the ReLU after the last layer: the loss takes logits.",
            )
        elif entry["kind"] == "twice":
            own = "a softmax" if name == "cross_entropy" else "a sigmoid"
            yield wrong(
                f"{name} gets the output of a {before}, and applies {own} itself: applied twice, it leaves small "
                "gradients and a loss that can't get near 0",
                name,
                f"Remove the {before} before the loss, and pass it the logits; apply the {before} only for "
                "predictions.",
            )
        elif entry["kind"] == "no logarithm":
            yield wrong(
                f"{name} gets {_of(before)} where it expects logarithms of probabilities",
                before or name,
                "Pass it log_softmax(logits, dim=1)"
                + (
                    ", or use cross_entropy on the logits."
                    if name == "nll_loss"
                    else "; its target remains probabilities."
                ),
            )
        elif entry["kind"] == "one class":
            # One of several losses may be constant without harm.
            say = attention if (seen.get("parameters") or {}).get("changed") else wrong
            yield say(
                f"{name} gets scores of one class, {tuple(entry['shapes'][0])}: a softmax over one class is always "
                "1, so nothing is learned from it",
                name,
                "For a single yes/no output, use BCEWithLogitsLoss with float labels of the same shape; or give "
                "the last layer two outputs, and use labels 0 and 1 of shape (batch,).",
            )
        elif entry["kind"] == "rewards":
            yield attention(
                "the loss grows with the overlap of the predicted probabilities and the labels: minimizing it "
                "means predicting the opposite",
                "the sum of probability times label has a positive slope",
                "Return 1 - coefficient, or minus the coefficient: higher Dice or IoU coefficients are better.",
            )
        elif entry["kind"] == "broadcast":
            shapes = " and ".join(str(tuple(shape)) for shape in entry["shapes"])
            found = wrong(
                f"{name} compares shapes {shapes}: each prediction is compared with every target of the batch",
                name,
                "Give both the same shape: prediction.squeeze(1), or y.unsqueeze(1).",
            )
            yield replace(found, links=("deepset-ai/FARM#229",))


@TOLD.check("skipped checks")
def unread(seen: Seen) -> Iterator[Finding]:
    """Report the doctor's own failed inspections, which leave checks out."""
    for entry in seen.get("unread", ()):
        yield attention(
            f"the doctor could not inspect {entry['part']}, and skipped the checks that need it",
            entry["error"],
            "Your training is not affected. Please report it with the output of `faultlab doctor --json`.",
        )


@TOLD.check("warnings")
def warned(seen: Seen) -> Iterator[Finding]:
    """Report the warnings of Lightning and torch, except those that every training gets."""
    compared = any(entry["kind"] == "broadcast" for entry in seen.get("compared", ()))
    for text in seen.get("warned", ()):
        if _QUIET.search(text) or (compared and "Using a target size" in text):
            continue
        if not seen.get("batches") and "across ranks is zero" in text:
            continue  # the cause is reported elsewhere
        line = " ".join(text.split())
        for pattern, (what, remedy) in _MEANT.items():
            if match := re.search(pattern, line):
                values = {name: value or "" for name, value in match.groupdict().items()}
                yield attention(what.format(**values), line[:300], remedy.replace("{key}", values.get("key", "")))
                break
        else:
            named = explained(line)
            if named:
                yield attention(named.cause, line[:300], named.remedy)
            elif text.startswith(("UserWarning", "PossibleUserWarning", "RuntimeWarning", "LightningWarning")):
                yield attention(
                    f"a warning is shown: {line.partition(': ')[2][:200]}",
                    line[:300],
                    "Check whether it applies to you.",
                )


def _of(activation: str) -> str:
    return f"probabilities (from a {activation})" if activation in ("softmax", "sigmoid") else "numbers above 0"
