"""The answer to "Why isn't my training step executing?": one check per cause, if training_step was never called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor import ending
from faultlab.doctor.finding import Checks, Finding, Seen, wrong

CAUSES = Checks()
check = CAUSES.check
_PL = "Lightning-AI/pytorch-lightning"


def calls(seen: Seen) -> int:
    """Return how often training_step was called."""
    return int(seen.get("calls", {}).get("training_step", 0))


@check("misspelled", "akshaydudhane16/BIPNet#2")
def misspelled(seen: Seen) -> Iterator[Finding]:
    """Find a method with a different name than the one that Lightning calls."""
    for entry in facts(seen, "near"):
        if entry["hook"] == "training_step":
            inherited = seen["step"]["kind"] != "missing"
            instead = f"; {seen['step']['owner']}.training_step runs instead" if inherited else ""
            yield wrong(
                f"training_step is never called because the method is named {entry['name']}{instead}",
                f"{entry['file']}:{entry['line']}",
                f"Rename {entry['name']} to training_step.",
            )


@check("wrongly indented")
def indented(seen: Seen) -> Iterator[Finding]:
    """Find a method that is inside another function, or after the class."""
    for entry in facts(seen, "nested"):
        if entry["hook"] == "training_step":
            yield wrong(
                f"training_step is never called because it is nested in {entry['inside']}",
                f"{entry['file']}:{entry['line']}",
                "Indent it like the other methods of the class.",
            )
    for entry in facts(seen, "outside"):
        if entry["hook"] == "training_step" and seen["step"]["kind"] == "missing":
            yield wrong(
                "training_step is never called because it is outside the class",
                f"{entry['file']}:{entry['line']}",
                f"Indent it into {entry['class']}.",
            )


@check("missing")
def missing(seen: Seen) -> Iterator[Finding]:
    """Find a module without a training_step of any name."""
    named = any(
        entry["hook"] == "training_step" for kind in ("near", "nested", "outside") for entry in facts(seen, kind)
    )
    if seen["step"]["kind"] == "missing" and not named:
        yield wrong(
            "the module has no training_step", seen["cls"]["place"], "Define training_step(self, batch, batch_idx)."
        )


@check("no batches requested")
def settings(seen: Seen) -> Iterator[Finding]:
    """Find a Trainer that is configured to train nothing."""
    given = seen.get("trainer", {})
    for name, remedy in (
        ("limit_train_batches", "Remove limit_train_batches, or set it to a number of batches."),
        ("max_epochs", "Set max_epochs to 1 or more; -1 means no limit."),
        ("max_steps", "Remove max_steps (its default, -1, means no limit), or set it to 1 or more."),
    ):
        if given.get(name) == 0:
            yield wrong(f"training_step is never called because {name}=0", f"trainer: {name}: 0", remedy)
    if _no_time(seen):
        yield wrong(
            "training_step is never called because the time is up before it",
            f"trainer: max_time: {seen['arguments']['max_time']}",
            "Set a longer max_time, such as 00:12:00:00.",
        )


@check("no batches in the loader", "RangiLyu/nanodet#486", "facebookresearch/sscd-copy-detection#9", f"{_PL}#6810")
def empty_loader(seen: Seen) -> Iterator[Finding]:
    """Find a training loader that yields nothing: an empty dataset, a sampler, or a dropped last batch."""
    loader = seen.get("loader") or {}
    if seen.get("error") or seen.get("trainer", {}).get("limit_train_batches") == 0 or _one_of_several(seen):
        return
    samples, drawn, size = loader.get("samples"), loader.get("drawn"), loader.get("batch_size")
    evidence = ", ".join(
        f"{name} {loader[name]}"
        for name in ("samples", "batch_size", "drop_last", "sampler", "drawn")
        if loader.get(name) is not None
    )
    if samples == 0:
        yield wrong(
            "training_step is never called because the training dataset is empty",
            evidence,
            "Check the path, filter or split that gives the dataset its samples.",
        )
    elif loader.get("batches") == 0 and loader.get("drop_last") and drawn and size and drawn < int(size):
        yield wrong(
            f"training_step is never called because {drawn} samples do not fill a batch of {size}, and "
            "drop_last=True drops the rest",
            evidence,
            "Use a smaller batch_size or drop_last=False.",
        )
    elif drawn == 0:
        yield wrong(
            "training_step is never called because the sampler draws nothing",
            evidence,
            f"Check the {loader.get('sampler')}.",
        )
    elif loader and not seen.get("batches") and not seen["calls"].get("on_train_batch_start") and not _left(seen):
        yield wrong(
            "training_step is never called because the training loader yields no batch",
            evidence or loader.get("type", ""),
            "Check the loader by itself: next(iter(train_dataloader)).",
        )


@check("batches of None")
def none_batches(seen: Seen) -> Iterator[Finding]:
    """Find a loader, or its collate function, that yields None, which Lightning skips."""
    if _nones(seen):
        yield wrong(
            "training_step is never called because the training loader yields None for a batch",
            "the Trainer warns: train_dataloader yielded None",
            "Make collate_fn return the batch.",
        )


@check("no training loader")
def no_loader(seen: Seen) -> Iterator[Finding]:
    """Find a missing train_dataloader, or one that returns nothing."""
    message = str((seen.get("error") or {}).get("message", ""))
    if "train_dataloader" not in message or "No `training_step()`" in message:
        return
    near = [entry for entry in facts(seen, "near") if entry["hook"] == "train_dataloader"]
    for entry in near:
        yield wrong(
            f"there is no train_dataloader because the method is named {entry['name']}",
            f"{entry['file']}:{entry['line']}",
            f"Rename {entry['name']} to train_dataloader.",
        )
    if not near:
        yield wrong(
            "training_step is never called because there is no training loader",
            message.partition("\n")[0],
            "Make train_dataloader return a loader, or name one under data: in the scenario.",
        )


@check("skipped by a hook", f"{_PL}#4481")
def skipped(seen: Seen) -> Iterator[Finding]:
    """Find an on_train_batch_start that returns -1, or a StopIteration: both skip the rest of the epoch."""
    for entry in seen.get("skipped", ())[:1]:
        if entry["hook"] != "training_step":
            yield wrong(
                f"training_step is never called because {entry['hook']} {entry['how']}",
                f"in step {entry['step']}; the Trainer then silently leaves the epoch",
                f"Make {entry['hook']} return nothing.",
            )


@check("asked to stop", f"{_PL}#15603", f"{_PL}#6699")
def stopped(seen: Seen) -> Iterator[Finding]:
    """Find a should_stop that is set before the first step."""
    for entry in seen.get("stopped", ())[:1]:
        yield wrong(
            f"training_step is never called because {entry['hook']} sets trainer.should_stop",
            f"{entry['owner']}, before step {entry['step']}",
            "Check its condition, or remove it.",
        )


@check("the closure is not called", f"{_PL}#4447", "lessw2020/Ranger-Deep-Learning-Optimizer#46")
def closure(seen: Seen) -> Iterator[Finding]:
    """Find an optimizer that does not call its closure, where Lightning runs training_step."""
    dropped = "closure hasn't been executed" in str((seen.get("error") or {}).get("message", ""))
    other = seen["step"]["replaced"] or _nones(seen) or not seen.get("automatic", True)
    if other or not (dropped or (seen.get("batches") and not seen.get("error"))):
        return
    for entry in facts(seen, "ignores_closure"):
        yield wrong(
            "training_step is never called because optimizer_step drops the closure that calls it",
            f"{entry['file']}:{entry['line']}",
            "Pass it on: optimizer.step(closure=optimizer_closure).",
        )
        return
    if "optimizer_step" in seen.get("own_hooks", ()):
        yield wrong(
            "training_step is never called because your optimizer_step never reaches optimizer.step with the closure",
            "batches arrived, but none was trained on",
            "Make it call optimizer.step(closure=optimizer_closure) unconditionally, whenever the Trainer calls it.",
        )
        return
    names = ", ".join(seen.get("parameters", {}).get("optimizers", ())) or "the optimizer"
    yield wrong(
        f"training_step is never called because {names}.step never calls its closure",
        "batches arrived, but none was trained on",
        "Make step(self, closure=None) begin with `loss = closure()` if a closure is given.",
    )


@check("replaced")
def replaced(seen: Seen) -> Iterator[Finding]:
    """Find another function in the method's place."""
    step = seen["step"]
    if step["replaced"]:
        yield wrong(
            "training_step is never called because the module has an attribute of that name, which runs instead",
            step["replaced"],
            "Remove the assignment to self.training_step.",
        )
    elif step["kind"] in ("property", "attribute"):
        yield wrong(
            f"training_step is a {step['kind']}, not a method",
            step["place"] or seen["cls"]["place"],
            "Define it as an ordinary method.",
        )


@check("two Lightning packages", f"{_PL}#19252")
def mixed(seen: Seen) -> Iterator[Finding]:
    """Find a module of one Lightning package, and a Trainer of the other."""
    own, trainer = seen.get("namespace", ""), seen.get("trainer_namespace", "")
    if trainer and trainer != own:
        yield wrong(
            f"the module is a {own} module and the Trainer is from {trainer}, which rejects it",
            str((seen.get("error") or {}).get("message", "")).partition("\n")[0],
            "Import both from the same package.",
        )


@check("exception before the first step")
def failed(seen: Seen) -> Iterator[Finding]:
    """Find an exception before the first step: in setup, in the sanity check, in a loader."""
    error = seen.get("error")
    if not error:
        return
    message = str(error["message"]).partition("\n")[0]
    said = ("No `training_step()`", "train_dataloader", "must be a `LightningModule`", "closure hasn't been executed")
    if any(words in message for words in said):
        return
    sanity = error["during"].startswith(("validation_", "on_validation_")) or "sanity" in error["during"]
    when = "in the sanity check of validation, before training" if sanity else f"after {error['during'] or 'nothing'}"
    yield ending.ended_by(
        seen, error, f"training_step is never called because an exception is raised before it, {when}"
    )


def explain(seen: Seen) -> list[Finding]:
    """Return a finding for every cause; if none is known, one with Lightning's own messages about the end."""
    found = CAUSES.run(seen)
    if found or _one_of_several(seen):
        return found
    said = "; ".join(seen.get("said", ())) or "no message from the Trainer"
    remedy = "Step through it: faultlab replay step.raises --scenario ... --debug."
    return [
        Finding(
            "never called",
            "wrong",
            "training_step is never called, for none of the known causes",
            said,
            remedy,
        )
    ]


def facts(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return list(seen.get("facts", {}).get(kind, ()))


def _one_of_several(seen: Seen) -> bool:
    """Return whether one of several loaders is empty, which is reported by its key."""
    loaders = seen.get("loaders", ())
    return len(loaders) > 1 and any(one["batches"] == 0 or one["samples"] == 0 for one in loaders)


def _left(seen: Seen) -> bool:
    """Return whether the run ended for another reason than an empty loader."""
    said = " ".join(seen.get("said", ()))
    return bool(
        _no_time(seen) or seen.get("stopped") or seen.get("skipped") or "max_steps" in said or "max_epochs=0" in said
    )


def _no_time(seen: Seen) -> bool:
    wanted = seen.get("arguments", {}).get("max_time")
    return bool(wanted) and not str(wanted).replace(":", "").strip("0")


def _nones(seen: Seen) -> bool:
    return any("train_dataloader yielded None" in text for text in seen.get("warned", ()))
