"""What Lightning, torch and the losses' inputs say of the training while it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from faultlab.doctor.errors import explained
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

TOLD = Checks()
# Said of trainings that are well, or of what the doctor has set itself.
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
        "OneCycleLR, which is reckoned in steps, is stepped once an epoch",
        'Write {"scheduler": scheduler, "interval": "step"} for lr_scheduler in configure_optimizers.',
    ),
    r"Found unsupported keys in the (?P<what>[\w ]+): (?P<keys>[^.]+)": (
        "a key of the {what} is not read: {keys}",
        'Put "interval", "frequency" and "monitor" into the dict under "lr_scheduler", beside "scheduler".',
    ),
    r"Found unsupported keys in the lr scheduler dict: (?P<keys>.+)": (
        "keys of the lr_scheduler dict are not read: {keys}",
        "Look how they are spelt: scheduler, interval, frequency, monitor, strict, name.",
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
        "Look where its dataset gets its samples from.",
    ),
    r"You passed in a `val_dataloader` but have no `validation_step`": (
        "there is a validation loader and no validation_step: validation is skipped",
        "Define validation_step, and look how it is spelt and indented.",
    ),
    r"`training_step` returned `None`": ("training_step returns None in some steps", "Return the loss."),
    r"you tried to log (?P<what>\S+) in `?(?P<hook>\w+)`?": ("{what} is not logged in {hook}", "Log it elsewhere."),
    r"`ModelCheckpoint\(monitor='(?P<key>[^']+)'\)` could not find the monitored key": (
        "ModelCheckpoint waits for {key}, which is not logged by any step",
        'Call self.log("{key}", value), or give monitor one that is logged.',
    ),
}


@TOLD.check("losses get what they expect", "ariecattan/SciCo#2")
def losses(seen: Seen) -> Iterator[Finding]:
    """Activations that a loss applies itself, missing logarithms, shapes that broadcast."""
    for entry in seen.get("compared", ()):
        name, before = entry["loss"], entry.get("before", "")
        if entry["kind"] == "twice" and before == "relu":
            yield attention(
                f"{name} is given what a ReLU has passed: logits below 0 are all 0 to it",
                name,
                "Take the ReLU behind the last layer out: the loss takes logits.",
            )
        elif entry["kind"] == "twice":
            own = "a softmax" if name == "cross_entropy" else "a sigmoid"
            yield wrong(
                f"{name} is given what a {before} has passed, and applies {own} itself: applied twice, it leaves small "
                "gradients and a loss that cannot come near 0",
                name,
                f"Take the {before} out of what the loss is given, and hand it the logits; apply it only where you "
                f"predict.",
            )
        elif entry["kind"] == "no logarithm":
            yield wrong(
                f"{name} is given {_of(before)}, which are no logarithms of probabilities",
                before or name,
                "Give it log_softmax(logits, dim=1)"
                + (
                    ", or use cross_entropy on the logits."
                    if name == "nll_loss"
                    else "; its target stays probabilities."
                ),
            )
        elif entry["kind"] == "one class":
            # One of several losses may be idle without harm.
            say = attention if (seen.get("parameters") or {}).get("changed") else wrong
            yield say(
                f"{name} is given scores of one class, {tuple(entry['shapes'][0])}: its softmax over one class is "
                "always 1, and nothing is learnt of it",
                name,
                "For yes or no of one output use BCEWithLogitsLoss with labels as float of the same shape; or give the "
                "last layer two outputs, and labels 0 and 1 of shape (batch,).",
            )
        elif entry["kind"] == "rewards":
            yield attention(
                "the loss grows with the overlap of the predicted probabilities and the labels: to make it small is to "
                "predict the opposite",
                "the sum of probability times label has a positive slope",
                "Return 1 - coefficient, or minus it: a Dice or IoU coefficient is the better the larger.",
            )
        elif entry["kind"] == "broadcast":
            shapes = " and ".join(str(tuple(shape)) for shape in entry["shapes"])
            found = wrong(
                f"{name} compares shapes {shapes}: each prediction is held against every target of the batch",
                name,
                "Give both the same shape: prediction.squeeze(1), or y.unsqueeze(1).",
            )
            yield replace(found, links=("deepset-ai/FARM#229",))


@TOLD.check("what could not be looked at")
def unread(seen: Seen) -> Iterator[Finding]:
    """Where the doctor's own looks failed, so that its silence there means nothing."""
    for text in seen.get("unread", ()):
        yield attention(
            f"the doctor could not look at {text.partition(': ')[0]}, and says nothing of it",
            text.partition(": ")[2],
            "The training is not touched by that. Please report it with what `faultlab doctor --json` prints.",
        )


@TOLD.check("warnings")
def warned(seen: Seen) -> Iterator[Finding]:
    """What Lightning and torch warn of, but for what every training is told."""
    compared = any(entry["kind"] == "broadcast" for entry in seen.get("compared", ()))
    for text in seen.get("warned", ()):
        if _QUIET.search(text) or (compared and "Using a target size" in text):
            continue
        if not seen.get("batches") and "across ranks is zero" in text:
            continue  # why it is empty has been said
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
                    f"a warning is given: {line.partition(': ')[2][:200]}", line[:300], "See whether it is meant."
                )


def _of(activation: str) -> str:
    return f"probabilities (of a {activation})" if activation in ("softmax", "sigmoid") else "numbers above 0"
