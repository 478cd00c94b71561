"""Settings, methods and weights that the user's files provide for and never use, and orders and counts that change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

HABITS = Checks()
check = HABITS.check


@check("unused settings", "FraunhoferIEE/curriculumagent#8")
def unused(seen: Seen) -> Iterator[Finding]:
    """Find settings that the module takes or keeps and never reads."""
    rates = list(seen.get("facts", {}).get("literal_rates", ()))
    for entry in _of(seen, "unused"):
        name = entry["name"]
        whose = f"self.{name}" if entry["kept"] else f"the argument {name} of {entry['class']}"
        instead = f"; configure_optimizers writes lr={rates[0]['rate']:g} instead" if rates and _is_rate(name) else ""
        read = name if not entry["kept"] else f"self.{name}"
        where = "lr=self." + name + " in configure_optimizers" if _is_rate(name) else f"{read} where it should act"
        yield attention(
            f"{whose} is set and never used: its value has no effect{instead}",
            f"{entry['file']}:{entry['line']}",
            f"Write {where}, or remove it.",
        )


@check("uncalled methods", "MultimediaTechLab/YOLO#97")
def uncalled(seen: Seen) -> Iterator[Finding]:
    """Find methods that keep something up to date and that neither Lightning nor the user's files call."""
    for entry in _of(seen, "uncalled"):
        yield attention(
            f"{entry['class']}.{entry['name']} is never called, by your code or by the Trainer",
            f"{entry['file']}:{entry['line']}",
            f"Call {entry['name']} in a hook that the Trainer calls, such as on_train_batch_end, or remove it.",
        )


@check("order of a set", "Lightning-AI/pytorch-lightning#4045")
def unordered(seen: Seen) -> Iterator[Finding]:
    """Find numbers that are given to the members of a set: another process gives others."""
    for entry in _of(seen, "unordered"):
        yield attention(
            f"line {entry['used']} numbers the members of a set ({entry['name']}): the order of a set of strings is "
            "different in each process, so a checkpoint of another run has learned other numbers",
            f"{entry['file']}:{entry['line']}",
            "Sort it first, sorted(set(...)), or store the numbering in the checkpoint.",
        )


@check("counts of the Trainer", "voicepaw/so-vits-svc-fork#350")
def counts(seen: Seen) -> Iterator[Finding]:
    """Find code that writes into the counts of Lightning's loops, which decide when the training ends."""
    for entry in _of(seen, "counts"):
        yield attention(
            f"line {entry['line']} sets {entry['name']}: the Trainer keeps several counts of epochs and steps, ends "
            "the training by others, and the training runs to another epoch than max_epochs says",
            f"{entry['file']}:{entry['line']}",
            "Remove it, and continue with trainer.fit(model, ckpt_path=...), which restores all counts; or set "
            "max_epochs to the epochs that are left.",
        )


@check("loading of weights", "torchgeo/terratorch#320")
def guarded(seen: Seen) -> Iterator[Finding]:
    """Find a failed load of weights whose exception is swallowed."""
    done, failed = set(seen.get("loads", ())), set(seen.get("loads_failed", ()))
    for entry in _of(seen, "guarded"):
        places = {f"{entry['file']}:{line}" for line in entry["lines"]}
        if places & done:
            continue
        # Without a failed load, the exception came before it, or the function isn't called in this training.
        yield (wrong if places & failed else attention)(
            f"line {entry['line']} loads weights, no load has completed there, and `{entry['how']}` in line "
            f"{entry['handler']} swallows the exception: the training starts from other weights",
            f"{entry['file']}:{entry['line']}, handler in line {entry['handler']}",
            "Raise the exception again (raise) in that handler, and fix what it says: a missing file or key, or "
            "names and shapes that do not match the state_dict.",
        )


@check("unused objects")
def made(seen: Seen) -> Iterator[Finding]:
    """Find schedulers, callbacks and samplers that are created and passed to nobody."""
    for entry in _of(seen, "made"):
        to = (
            "return it from configure_optimizers, beside the optimizer"
            if entry["in"] == "configure_optimizers"
            else "pass it to the DataLoader (sampler=...)"
            if "Sampler" in entry["class"]
            else "pass it to the Trainer (callbacks=[...])"
        )
        yield attention(
            f"{entry['class']} is created as {entry['name']} in line {entry['line']} and never used: it has no effect",
            f"{entry['file']}:{entry['line']}",
            f"{to[0].upper()}{to[1:]}, or remove it.",
        )


@check("seeds")
def reseeded(seen: Seen) -> Iterator[Finding]:
    """Find a method that runs again and again and draws the same random numbers each time."""
    for entry in _of(seen, "reseeded"):
        yield attention(
            f"{entry['in']} calls {entry['name']} with the same seed each time: whatever is drawn at random after it "
            "is the same in each call, such as augmentation, dropout or the order of samples",
            f"{entry['file']}:{entry['line']}",
            "Seed once, before the training; for a sample's own numbers use a generator seeded by its index.",
        )


@check("split of the data", "ashleve/lightning-hydra-template#184")
def resplit(seen: Seen) -> Iterator[Finding]:
    """Find a random split in setup, which Lightning calls again for each stage."""
    for entry in _of(seen, "resplit"):
        yield attention(
            f"setup splits the data with {entry['name']} and no fixed seed, and the Trainer calls setup again for each "
            "stage: test and validation get samples that were trained on",
            f"{entry['file']}:{entry['line']}",
            "Give it a generator: generator=torch.Generator().manual_seed(42); or split only once, if stage is fit.",
        )


@check("order of loaders", "Lightning-AI/pytorch-lightning#7050")
def late(seen: Seen) -> Iterator[Finding]:
    """Find an attribute that val_dataloader misses because only train_dataloader assigns it."""
    for entry in _of(seen, "late"):
        if f"'{entry['name']}'" in str(seen.get("error")):
            yield wrong(
                f"val_dataloader reads self.{entry['name']}, which only train_dataloader assigns, and the Trainer "
                "calls train_dataloader later: it validates once before the training",
                f"{entry['file']}:{entry['line']}",
                f"Assign self.{entry['name']} in setup, or in __init__: both loaders come after them.",
            )


@check("repeated layers", "zalandoresearch/pytorch-vq-vae#2")
def repeated(seen: Seen) -> Iterator[Finding]:
    """Find a list that has one layer several times."""
    for entry in _of(seen, "repeated"):
        yield attention(
            f"the {entry['in']} in line {entry['line']} has the same layer, {entry['name']}, several times: they share "
            "one set of weights, and the network has the capacity of one",
            f"{entry['file']}:{entry['line']}",
            f"Create one for each: {entry['in']}([... for _ in range(n)]) with the constructor's call inside.",
        )


@check("values of steps", "Lightning-AI/pytorch-lightning#10718")
def by_step(seen: Seen) -> Iterator[Finding]:
    """Find a monitored value that validation logs for its steps alone."""
    for entry in _of(seen, "by_step"):
        yield attention(
            f"validation_step logs {entry['name']} with on_epoch=False: it has no value for the epoch, which is what "
            "callbacks and schedulers monitor",
            f"{entry['file']}:{entry['line']}",
            f'Write self.log("{entry["name"]}", ..., on_epoch=True), which is what validation_step does by itself.',
        )


@check("gradients kept", "Project-MONAI/GenerativeModels#102")
def kept(seen: Seen) -> Iterator[Finding]:
    """Find an optimizer whose gradients manual optimization never clears."""
    for entry in _of(seen, "uncleared"):
        name = entry["name"]
        yield wrong(
            f"training_step steps {name} and never calls {name}.zero_grad(): the gradients of all earlier steps, and "
            "of other losses that lead through its weights, are still in them",
            f"{entry['file']}:{entry['line']}",
            f"Call {name}.zero_grad() before the backward pass of its loss.",
        )


@check("roots of 0", "mpariente/pytorch_stoi#7")
def roots(seen: Seen) -> Iterator[Finding]:
    """Find roots whose slope may be what makes the loss NaN."""
    if all(value is not None and math.isfinite(value) for value in seen.get("losses", ())):
        return
    for entry in _of(seen, "roots"):
        yield attention(
            f"line {entry['line']} takes a root, {entry['name']}: at 0 its slope is infinite, and one such sample "
            "makes all weights NaN although the loss was finite",
            f"{entry['file']}:{entry['line']}",
            "Add a small number under the root: (x + 1e-8).sqrt().",
        )


def _of(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return list((seen.get("files") or {}).get(kind, ()))


def _is_rate(name: str) -> bool:
    return name in ("lr", "learning_rate")
