"""training_step is called: does anything come of it, and do the other hooks run?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from faultlab.doctor import ending, still
from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.doctor.step_not_executed import calls, facts
from faultlab.doctor.swallowed import of_the_step

LEARNING, HOOKS = Checks(), Checks()
_PL = "Lightning-AI/pytorch-lightning"
# Not in a fit, or not in every one.
_ELSEWHERE = ("test", "predict", "checkpoint", "exception", "configure_sharded_model", "teardown")
_SHOWN = 6


@LEARNING.check("executed")
def executed(seen: Seen) -> Iterator[Finding]:
    """How often, and whose."""
    times, step = calls(seen), seen["step"]
    whose = f"{step['owner']}.training_step"
    yield fine(f"{whose} was called {times} times for {seen.get('batches', 0)} batches", step["place"])


@LEARNING.check("another one runs")
def another(seen: Seen) -> Iterator[Finding]:
    """A base class's runs where the class itself was meant to define one, or an earlier definition is lost."""
    for kind in ("near", "nested"):
        for entry in facts(seen, kind):
            name = entry.get("name") or entry["hook"]
            if entry["hook"] == "training_step":
                why = f"is called {name}" if kind == "near" else f"is nested in {entry['inside']}"
                yield wrong(
                    f"your training step is never called because it {why}; {seen['step']['owner']}'s runs instead",
                    f"{entry['file']}:{entry['line']}",
                    f"Rename {name} to training_step." if kind == "near" else "Indent it as the others.",
                )
    for entry in facts(seen, "twice"):
        lines = ", ".join(map(str, entry["lines"]))
        verdict = wrong if entry["hook"] == "training_step" else attention
        yield verdict(
            f"{entry['hook']} is defined {len(entry['lines'])} times; the last one alone counts",
            f"{entry['file']}, lines {lines}",
            "Keep one of them.",
        )
    if len(facts(seen, "classes")) > len({entry["class"] for entry in facts(seen, "classes")}):
        entries = facts(seen, "classes")
        yield attention(
            f"{entries[0]['class']} is defined more than once; the last definition counts",
            f"{entries[0]['file']}, lines {', '.join(str(entry['line']) for entry in entries)}",
            "Rename one of them.",
        )


@LEARNING.check("replaced on the instance")
def replaced(seen: Seen) -> Iterator[Finding]:
    """An attribute of the module hides the method."""
    if seen["step"]["replaced"]:
        yield wrong(
            "the module has an attribute training_step, which runs instead of the method",
            seen["step"]["replaced"],
            "Take the assignment to self.training_step out.",
        )


@LEARNING.check("its body runs")
def body(seen: Seen) -> Iterator[Finding]:
    """A generator or a coroutine is made, and nobody runs it."""
    kind = seen["step"]["kind"]
    if kind in ("generator", "coroutine"):
        mark = "yield in it" if kind == "generator" else "async before it"
        yield wrong(
            f"the body of training_step is never executed because it is a {kind}",
            seen["step"]["place"],
            f"Take the {mark} out.",
        )


@LEARNING.check("the batch fits the step")
def batch(seen: Seen) -> Iterator[Finding]:
    """A batch of one tensor that is unpacked by its rows, where no exception says so."""
    found = seen.get("batch")
    for entry in facts(seen, "unpacks"):
        if found and not seen.get("error") and found["parts"] == 1 and entry["parts"] > 1:
            fit = ending.misfit(found, entry["parts"], entry["line"])
            yield wrong(f"{fit.cause}; its rows are taken for them", f"{entry['file']}:{entry['line']}", fit.remedy)


@LEARNING.check("who steps the optimizer")
def who_steps(seen: Seen) -> Iterator[Finding]:
    """A step that goes back and steps by itself, without manual optimization."""
    if seen.get("automatic", True) and not seen.get("error") and (found := ending.by_itself(seen)):
        lines = facts(seen, "manual_names") or facts(seen, "steps_itself")
        yield wrong(found.cause, f"{lines[0]['file']}:{lines[0]['line']}", found.remedy)


@LEARNING.check("it returns a loss", f"{_PL}#6753")
def returned(seen: Seen) -> Iterator[Finding]:
    """What comes back: nothing, or something that leads to no gradient."""
    outputs, times = seen.get("outputs", {}), calls(seen)
    if not seen.get("automatic", True) or seen["step"]["kind"] in ("generator", "coroutine"):
        return
    if ending.by_itself(seen):
        return  # what it returns is right under manual optimization
    held = of_the_step(seen)
    why = f", since {held['type']} is swallowed in line {held['handler']}" if held else ""
    if none := outputs.get("none", 0):
        say = wrong if none == times else attention
        yield say(
            f"training_step returns None in {none} of {times} steps{why}; nothing is learnt in those",
            seen["step"]["place"],
            "Mend the swallowed exception." if held else "Return the loss.",
        )
    if detached := outputs.get("detached", 0):
        _, where, remedy = still.why_no_graph(seen)
        yield wrong(
            f"the loss has no gradient in {detached} of {times} steps{why}",
            where if where and not held else seen["step"]["place"],
            "Mend the swallowed exception." if held else remedy,
        )
    for kind, count in outputs.items():
        if kind not in ("none", "loss", "detached"):
            yield wrong(
                f"training_step returns {kind} in {count} of {times} steps{why}",
                seen["step"]["place"],
                "Return the loss, or a dict that has it as 'loss'.",
            )


@LEARNING.check("the run ends well")
def ended(seen: Seen) -> Iterator[Finding]:
    """An exception, or an end before its time."""
    if error := seen.get("error"):
        steps = seen.get("batches", 0)
        what = f"training ends with an exception after {steps} {'step' if steps == 1 else 'steps'}"
        yield ending.ended_by(seen, error, what)
    for entry in seen.get("stopped", ())[:1]:
        yield attention(f"{entry['hook']} stops the training", f"in step {entry['step']}", "See whether that is meant.")
    for entry in seen.get("skipped", ())[:1]:
        yield attention(
            f"{entry['hook']} {entry['how']}, and the rest of the epoch is skipped",
            f"in step {entry['step']}",
            "See whether that is meant.",
        )


@LEARNING.check("the loss is finite")
def losses(seen: Seen) -> Iterator[Finding]:
    """NaN or infinity in a clean run."""
    values = [float("nan") if value is None else value for value in seen.get("losses", ())]
    bad = [step for step, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        yield wrong(
            f"the loss is not finite in {len(bad)} of {len(values)} steps",
            f"first in step {bad[0]}",
            "Look at the data and the learning rate; faultlab.guards.LossContract says it at once.",
        )
    elif values:
        yield fine(f"the loss is finite: {values[0]:.4g} in the first step, {values[-1]:.4g} in the last")


@LEARNING.check("half precision", "afiaka87/glide-finetune#5")
def epsilons(seen: Seen) -> Iterator[Finding]:
    """An optimizer's epsilon that is 0 in the weights' own type, so that it divides by 0."""
    for entry in (seen.get("parameters") or {}).get("lost_epsilons", ()):
        here = ' (precision="16-true" is asked for; the doctor has run it in float32)' if entry["asked"] else ""
        yield wrong(
            f"eps={entry['eps']:g} of {entry['optimizer']} is 0 in float16: a weight whose gradient is small is "
            f"divided by 0, and becomes NaN or infinite{here}",
            f"torch.tensor({entry['eps']:g}, dtype=torch.float16) is 0",
            'Give the optimizer eps=1e-4, or the Trainer precision="bf16-true" or "16-mixed".',
        )


@HOOKS.check("names of hooks", "optuna/optuna-examples#49")
def names(seen: Seen) -> Iterator[Finding]:
    """Methods whose names are nearly those of hooks are never called."""
    for entry in facts(seen, "near"):
        if entry["hook"] != "training_step":
            yield attention(
                f"{entry['name']} is never called by Lightning; its hook is {entry['hook']}",
                f"{entry['file']}:{entry['line']}",
                f"Rename it to {entry['hook']}, if that is meant.",
            )
    for entry in seen.get("attendants", {}).get("near", ()):
        yield attention(
            f"{entry['name']} is never called by Lightning; the hook is {entry['hook']}",
            entry["place"],
            f"Rename it to {entry['hook']}, with that hook's arguments, if that is meant.",
        )
    for entry in facts(seen, "nested"):
        if entry["hook"] != "training_step":
            yield attention(
                f"{entry['hook']} is nested in {entry['inside']} and no hook there",
                f"{entry['file']}:{entry['line']}",
                "Indent it as the other methods.",
            )


@HOOKS.check("hooks that you define run")
def never_ran(seen: Seen) -> Iterator[Finding]:
    """Of the module's own hooks those that a fit should have called and has not."""
    if seen.get("error") or seen.get("cut"):
        return
    ran = {name for name, times in seen.get("calls", {}).items() if times}
    if "training_step" not in ran:
        return  # why has been said, and the others wait for it
    idle = [name for name in seen.get("own_hooks", ()) if name not in ran and not any(w in name for w in _ELSEWHERE)]
    if not seen.get("automatic", True):
        idle = [name for name in idle if name not in ("optimizer_step", "backward", "optimizer_zero_grad")]
    validation = [name for name in idle if "validation" in name or name == "val_dataloader"]
    if others := [name for name in idle if name not in validation]:
        yield attention(
            f"{', '.join(others[:_SHOWN])} never ran",
            "defined, and not called in this run",
            "See whether they should have been.",
        )
    elif not validation and ran:
        yield fine("every hook that the module defines and a fit calls has run")


@HOOKS.check("data apart")
def apart(seen: Seen) -> Iterator[Finding]:
    """Training and validation share a dataset."""
    if (seen.get("loader") or {}).get("validates_on_it"):
        yield attention(
            "training and validation use one dataset",
            str(seen["loader"].get("type")),
            "See whether train_dataloader returns the validation's, or the other way round.",
        )
