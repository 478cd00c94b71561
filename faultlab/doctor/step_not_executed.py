"""Why isn't my training step executing? One check a cause; they are asked where it was not called at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor import ending
from faultlab.doctor.finding import Checks, Finding, Seen, wrong

CAUSES = Checks()
check = CAUSES.check
_PL = "Lightning-AI/pytorch-lightning"


def calls(seen: Seen) -> int:
    """How often training_step was called."""
    return int(seen.get("calls", {}).get("training_step", 0))


@check("misspelt", "akshaydudhane16/BIPNet#2")
def misspelt(seen: Seen) -> Iterator[Finding]:
    """The method has another name than the one that Lightning calls."""
    for entry in facts(seen, "near"):
        if entry["hook"] == "training_step":
            inherited = seen["step"]["kind"] != "missing"
            instead = f"; {seen['step']['owner']}.training_step runs in its stead" if inherited else ""
            yield wrong(
                f"training_step is never called because the method is called {entry['name']}{instead}",
                f"{entry['file']}:{entry['line']}",
                f"Rename {entry['name']} to training_step.",
            )


@check("wrongly indented")
def indented(seen: Seen) -> Iterator[Finding]:
    """The method stands inside another function, or after the class."""
    for entry in facts(seen, "nested"):
        if entry["hook"] == "training_step":
            yield wrong(
                f"training_step is never called because it is nested in {entry['inside']}",
                f"{entry['file']}:{entry['line']}",
                "Indent it as the other methods of the class.",
            )
    for entry in facts(seen, "outside"):
        if entry["hook"] == "training_step" and seen["step"]["kind"] == "missing":
            yield wrong(
                "training_step is never called because it stands outside of the class",
                f"{entry['file']}:{entry['line']}",
                f"Indent it into {entry['class']}.",
            )


@check("missing")
def missing(seen: Seen) -> Iterator[Finding]:
    """There is no training_step, under no name."""
    named = any(
        entry["hook"] == "training_step" for kind in ("near", "nested", "outside") for entry in facts(seen, kind)
    )
    if seen["step"]["kind"] == "missing" and not named:
        yield wrong("there is no training_step", seen["cls"]["place"], "Define training_step(self, batch, batch_idx).")


@check("no batches asked for")
def settings(seen: Seen) -> Iterator[Finding]:
    """The Trainer is told to train nothing."""
    given = seen.get("trainer", {})
    for name, remedy in (
        ("limit_train_batches", "Remove limit_train_batches, or give a number of batches."),
        ("max_epochs", "Give max_epochs of 1 or more; -1 is without end."),
        ("max_steps", "Remove max_steps (its default, -1, is no limit), or give 1 or more."),
    ):
        if given.get(name) == 0:
            yield wrong(f"training_step is never called because {name}=0", f"trainer: {name}: 0", remedy)
    if _no_time(seen):
        yield wrong(
            "training_step is never called because the time is up before it",
            f"trainer: max_time: {seen['arguments']['max_time']}",
            "Give max_time that lasts, as in 00:12:00:00.",
        )


@check("no batches in the loader", "RangiLyu/nanodet#486", "facebookresearch/sscd-copy-detection#9", f"{_PL}#6810")
def empty_loader(seen: Seen) -> Iterator[Finding]:
    """The training loader yields nothing: an empty dataset, a sampler, or a last batch that is dropped."""
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
            "Look where the dataset gets its samples from: a path, a filter, a split.",
        )
    elif loader.get("batches") == 0 and loader.get("drop_last") and drawn and size and drawn < int(size):
        yield wrong(
            f"training_step is never called because {drawn} samples make no whole batch of {size}, and drop_last=True "
            "drops the rest",
            evidence,
            "Use a smaller batch_size or drop_last=False.",
        )
    elif drawn == 0:
        yield wrong(
            "training_step is never called because the sampler draws nothing",
            evidence,
            f"Look at the {loader.get('sampler')}.",
        )
    elif loader and not seen.get("batches") and not seen["calls"].get("on_train_batch_start") and not _left(seen):
        yield wrong(
            "training_step is never called because the training loader yields no batch",
            evidence or loader.get("type", ""),
            "Look at the loader by itself: next(iter(train_dataloader)).",
        )


@check("batches of None")
def none_batches(seen: Seen) -> Iterator[Finding]:
    """The loader, or its collate function, yields None, which Lightning passes over."""
    if _nones(seen):
        yield wrong(
            "training_step is never called because the training loader yields None for a batch",
            "Lightning warns: train_dataloader yielded None",
            "Have collate_fn return the batch.",
        )


@check("no training loader")
def no_loader(seen: Seen) -> Iterator[Finding]:
    """There is no train_dataloader, or it returns nothing."""
    message = str((seen.get("error") or {}).get("message", ""))
    if "train_dataloader" not in message or "No `training_step()`" in message:
        return
    near = [entry for entry in facts(seen, "near") if entry["hook"] == "train_dataloader"]
    for entry in near:
        yield wrong(
            f"there is no train_dataloader because the method is called {entry['name']}",
            f"{entry['file']}:{entry['line']}",
            f"Rename {entry['name']} to train_dataloader.",
        )
    if not near:
        yield wrong(
            "training_step is never called because there is no training loader",
            message.partition("\n")[0],
            "Have train_dataloader return a loader, or name one under data: in the scenario.",
        )


@check("skipped by a hook", f"{_PL}#4481")
def skipped(seen: Seen) -> Iterator[Finding]:
    """on_train_batch_start returns -1, or something raises StopIteration: the rest of the epoch is skipped."""
    for entry in seen.get("skipped", ())[:1]:
        if entry["hook"] != "training_step":
            yield wrong(
                f"training_step is never called because {entry['hook']} {entry['how']}",
                f"in step {entry['step']}; Lightning then leaves the epoch without a word",
                f"Have {entry['hook']} return nothing.",
            )


@check("asked to stop", f"{_PL}#15603", f"{_PL}#6699")
def stopped(seen: Seen) -> Iterator[Finding]:
    """Somebody has set should_stop before the first step."""
    for entry in seen.get("stopped", ())[:1]:
        yield wrong(
            f"training_step is never called because {entry['hook']} sets trainer.should_stop",
            f"{entry['owner']}, before step {entry['step']}",
            "Look at what it waits for, or take it out.",
        )


@check("the closure is not called", f"{_PL}#4447", "lessw2020/Ranger-Deep-Learning-Optimizer#46")
def closure(seen: Seen) -> Iterator[Finding]:
    """Lightning runs training_step inside the optimizer's step, as its closure; one that drops it runs nothing."""
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
            "training_step is never called because your optimizer_step never comes to optimizer.step with the closure",
            "batches came, and none was trained on",
            "Have it call optimizer.step(closure=optimizer_closure) whenever Lightning calls it, under no condition.",
        )
        return
    names = ", ".join(seen.get("parameters", {}).get("optimizers", ())) or "the optimizer"
    yield wrong(
        f"training_step is never called because {names}.step never calls its closure",
        "batches came, and none was trained on",
        "Have step(self, closure=None) begin with `loss = closure()` where one is given.",
    )


@check("replaced")
def replaced(seen: Seen) -> Iterator[Finding]:
    """Another function was put in the method's place."""
    step = seen["step"]
    if step["replaced"]:
        yield wrong(
            "training_step is never called because the module has an attribute of that name, which runs instead",
            step["replaced"],
            "Take the assignment to self.training_step out.",
        )
    elif step["kind"] in ("property", "attribute"):
        yield wrong(
            f"training_step is a {step['kind']} and no method",
            step["place"] or seen["cls"]["place"],
            "Define it as an ordinary method.",
        )


@check("two kinds of Lightning", f"{_PL}#19252")
def mixed(seen: Seen) -> Iterator[Finding]:
    """The module is of one Lightning package, and the Trainer or a callback of the other."""
    own, trainer = seen.get("namespace", ""), seen.get("trainer_namespace", "")
    if trainer and trainer != own:
        yield wrong(
            f"the module is of {own} and the Trainer of {trainer}, which takes no such module",
            str((seen.get("error") or {}).get("message", "")).partition("\n")[0],
            "Import both from the same package.",
        )


@check("an exception before it")
def failed(seen: Seen) -> Iterator[Finding]:
    """The run ends with an exception before the first step: in setup, in the sanity check, in a loader."""
    error = seen.get("error")
    if not error:
        return
    message = str(error["message"]).partition("\n")[0]
    said = ("No `training_step()`", "train_dataloader", "must be a `LightningModule`", "closure hasn't been executed")
    if any(words in message for words in said):
        return
    sanity = error["during"].startswith(("validation_", "on_validation_")) or "sanity" in error["during"]
    when = "in the sanity check of validation, before training" if sanity else f"after {error['during'] or 'nothing'}"
    yield ending.ended_by(seen, error, f"training_step is never called because an exception comes before it, {when}")


def explain(seen: Seen) -> list[Finding]:
    """Every cause that holds; where none is known, what Lightning itself gave as the end."""
    found = CAUSES.run(seen)
    if found or _one_of_several(seen):
        return found
    said = "; ".join(seen.get("said", ())) or "Lightning says nothing"
    remedy = "Step through it: faultlab replay step.raises --scenario ... --debug."
    return [
        Finding(
            "never called",
            "wrong",
            "training_step is never called, and no cause that is known here holds",
            said,
            remedy,
        )
    ]


def facts(seen: Seen, kind: str) -> list[dict[str, Any]]:
    return list(seen.get("facts", {}).get(kind, ()))


def _one_of_several(seen: Seen) -> bool:
    """Whether one of several loaders is empty, which is said of each by its name."""
    loaders = seen.get("loaders", ())
    return len(loaders) > 1 and any(one["batches"] == 0 or one["samples"] == 0 for one in loaders)


def _left(seen: Seen) -> bool:
    """Whether the run ended for another reason than an empty loader."""
    said = " ".join(seen.get("said", ()))
    return bool(
        _no_time(seen) or seen.get("stopped") or seen.get("skipped") or "max_steps" in said or "max_epochs=0" in said
    )


def _no_time(seen: Seen) -> bool:
    wanted = seen.get("arguments", {}).get("max_time")
    return bool(wanted) and not str(wanted).replace(":", "").strip("0")


def _nones(seen: Seen) -> bool:
    return any("train_dataloader yielded None" in text for text in seen.get("warned", ()))
