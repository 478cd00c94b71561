"""training_step is called: does it have an effect, and do the other hooks run?"""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor import ending, loss_values, still
from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.doctor.step_not_executed import calls, facts
from faultlab.doctor.swallowed import of_the_step

LEARNING, HOOKS = Checks(), Checks()
LOSS_VALUES = "loss values"
_PL = "Lightning-AI/pytorch-lightning"
# Not called by every fit.
_ELSEWHERE = ("test", "predict", "checkpoint", "exception", "configure_sharded_model", "teardown")
_SHOWN = 6


@LEARNING.check("executed")
def executed(seen: Seen) -> Iterator[Finding]:
    """Report how often training_step was called, and whose it is."""
    times, step = calls(seen), seen["step"]
    whose = f"{step['owner']}.training_step"
    yield fine(f"{whose} was called {times} times for {seen.get('batches', 0)} batches", step["place"])


@LEARNING.check("another method runs")
def another(seen: Seen) -> Iterator[Finding]:
    """Find a base class's method that runs in place of the class's own, or a definition that a later one replaces."""
    for kind in ("near", "nested"):
        for entry in facts(seen, kind):
            name = entry.get("name") or entry["hook"]
            if entry["hook"] == "training_step":
                why = f"is named {name}" if kind == "near" else f"is nested in {entry['inside']}"
                yield wrong(
                    f"your training step is never called because it {why}; {seen['step']['owner']}'s runs instead",
                    f"{entry['file']}:{entry['line']}",
                    f"Rename {name} to training_step." if kind == "near" else "Indent it like the other methods.",
                )
    for entry in facts(seen, "twice"):
        lines = ", ".join(map(str, entry["lines"]))
        verdict = wrong if entry["hook"] == "training_step" else attention
        yield verdict(
            f"{entry['hook']} is defined {len(entry['lines'])} times; only the last definition counts",
            f"{entry['file']}, lines {lines}",
            "Keep one of them.",
        )
    if len(facts(seen, "classes")) > len({entry["class"] for entry in facts(seen, "classes")}):
        entries = facts(seen, "classes")
        yield attention(
            f"{entries[0]['class']} is defined more than once; only the last definition counts",
            f"{entries[0]['file']}, lines {', '.join(str(entry['line']) for entry in entries)}",
            "Rename one of them.",
        )


@LEARNING.check("replaced on the instance")
def replaced(seen: Seen) -> Iterator[Finding]:
    """Find an attribute of the module that hides the method."""
    if seen["step"]["replaced"]:
        yield wrong(
            "the module has an attribute training_step, which runs instead of the method",
            seen["step"]["replaced"],
            "Remove the assignment to self.training_step.",
        )


@LEARNING.check("method body")
def body(seen: Seen) -> Iterator[Finding]:
    """Find a generator or coroutine that is created but never run."""
    kind = seen["step"]["kind"]
    if kind in ("generator", "coroutine"):
        mark = "yield" if kind == "generator" else "async"
        yield wrong(
            f"the body of training_step is never executed because it is a {kind}",
            seen["step"]["place"],
            f"Remove {mark} from training_step.",
        )


@LEARNING.check("batch unpacking")
def batch(seen: Seen) -> Iterator[Finding]:
    """Find a batch of one tensor that is unpacked into its rows without an exception."""
    found = seen.get("batch")
    for entry in facts(seen, "unpacks"):
        if found and not seen.get("error") and found["parts"] == 1 and entry["parts"] > 1:
            fit = ending.misfit(found, entry["parts"], entry["line"])
            yield wrong(f"{fit.cause}; its rows are unpacked instead", f"{entry['file']}:{entry['line']}", fit.remedy)


@LEARNING.check("optimizer steps")
def who_steps(seen: Seen) -> Iterator[Finding]:
    """Find a step that calls backward and step itself, without manual optimization."""
    if seen.get("automatic", True) and not seen.get("error") and (found := ending.by_itself(seen)):
        lines = facts(seen, "manual_names") or facts(seen, "steps_itself")
        yield wrong(found.cause, f"{lines[0]['file']}:{lines[0]['line']}", found.remedy)


@LEARNING.check("returned loss", f"{_PL}#6753")
def returned(seen: Seen) -> Iterator[Finding]:
    """Find steps that return nothing, or a value without a gradient."""
    outputs, times = seen.get("outputs", {}), calls(seen)
    if not seen.get("automatic", True) or seen["step"]["kind"] in ("generator", "coroutine"):
        return
    if ending.by_itself(seen):
        return  # it returns the right thing for manual optimization
    held = of_the_step(seen)
    why = f", because {held['type']} is swallowed in line {held['handler']}" if held else ""
    if none := outputs.get("none", 0):
        say = wrong if none == times else attention
        yield say(
            f"training_step returns None in {none} of {times} steps{why}; nothing is learned in those",
            seen["step"]["place"],
            "Fix the swallowed exception." if held else "Return the loss.",
        )
    if detached := outputs.get("detached", 0):
        _, where, remedy = still.why_no_graph(seen)
        yield wrong(
            f"the loss has no gradient in {detached} of {times} steps{why}",
            where if where and not held else seen["step"]["place"],
            "Fix the swallowed exception." if held else remedy,
        )
    for kind, count in outputs.items():
        if kind not in ("none", "loss", "detached"):
            yield wrong(
                f"training_step returns {kind} in {count} of {times} steps{why}",
                seen["step"]["place"],
                "Return the loss, or a dict with the loss under 'loss'.",
            )


@LEARNING.check("end of the run")
def ended(seen: Seen) -> Iterator[Finding]:
    """Find an exception, or an early end."""
    if error := seen.get("error"):
        steps = seen.get("batches", 0)
        what = f"training ends with an exception after {steps} {'step' if steps == 1 else 'steps'}"
        yield ending.ended_by(seen, error, what)
    for entry in seen.get("stopped", ())[:1]:
        yield attention(
            f"{entry['hook']} stops the training",
            f"in step {entry['step']}",
            "Change that hook if the training should continue.",
        )
    for entry in seen.get("skipped", ())[:1]:
        yield attention(
            f"{entry['hook']} {entry['how']}, and the rest of the epoch is skipped",
            f"in step {entry['step']}",
            "Change that hook if the epoch should continue.",
        )


@LEARNING.check(LOSS_VALUES)
def losses(seen: Seen) -> Iterator[Finding]:
    """Find NaN or infinity in a clean run."""
    yield from loss_values.judged(seen.get("losses", ()))


@LEARNING.check("half precision", "afiaka87/glide-finetune#5")
def epsilons(seen: Seen) -> Iterator[Finding]:
    """Find an epsilon that is 0 in the weights' own type, so that the optimizer divides by 0."""
    for entry in (seen.get("parameters") or {}).get("lost_epsilons", ()):
        here = ' (precision="16-true" is requested; the doctor ran it in float32)' if entry["asked"] else ""
        yield wrong(
            f"eps={entry['eps']:g} of {entry['optimizer']} is 0 in float16: a weight with a small gradient is "
            f"divided by 0, and becomes NaN or infinite{here}",
            f"torch.tensor({entry['eps']:g}, dtype=torch.float16) is 0",
            'Pass eps=1e-4 to the optimizer, or precision="bf16-true" or "16-mixed" to the Trainer.',
        )


@HOOKS.check("hook names", "optuna/optuna-examples#49")
def names(seen: Seen) -> Iterator[Finding]:
    """Find methods that are never called because their names are only almost those of hooks."""
    for entry in facts(seen, "near"):
        if entry["hook"] != "training_step":
            yield attention(
                f"the Trainer never calls {entry['name']}; the hook is named {entry['hook']}",
                f"{entry['file']}:{entry['line']}",
                f"Rename it to {entry['hook']} if it is meant to be that hook.",
            )
    for entry in seen.get("attendants", {}).get("near", ()):
        yield attention(
            f"the Trainer never calls {entry['name']}; the hook is named {entry['hook']}",
            entry["place"],
            f"Rename it to {entry['hook']}, with that hook's arguments, if it is meant to be that hook.",
        )
    for entry in facts(seen, "nested"):
        if entry["hook"] != "training_step":
            yield attention(
                f"{entry['hook']} is nested in {entry['inside']}, where it is not a hook",
                f"{entry['file']}:{entry['line']}",
                "Indent it like the other methods.",
            )


@HOOKS.check("unused hooks")
def never_ran(seen: Seen) -> Iterator[Finding]:
    """Find the module's own hooks that a fit should have called but did not."""
    if seen.get("error") or seen.get("cut"):
        return
    ran = {name for name, times in seen.get("calls", {}).items() if times}
    if "training_step" not in ran:
        return  # the cause is reported elsewhere, and the other hooks depend on it
    idle = [name for name in seen.get("own_hooks", ()) if name not in ran and not any(w in name for w in _ELSEWHERE)]
    if not seen.get("automatic", True):
        idle = [name for name in idle if name not in ("optimizer_step", "backward", "optimizer_zero_grad")]
    validation = [name for name in idle if "validation" in name or name == "val_dataloader"]
    if others := [name for name in idle if name not in validation]:
        yield attention(
            f"{', '.join(others[:_SHOWN])} never ran",
            "defined, but not called in this run",
            "Check whether they should have been called.",
        )
    elif not validation and ran:
        yield fine("every hook that the module defines and a fit calls has run")


@HOOKS.check("shared data")
def apart(seen: Seen) -> Iterator[Finding]:
    """Find a dataset that training and validation share."""
    if (seen.get("loader") or {}).get("validates_on_it"):
        yield attention(
            "training and validation use the same dataset",
            str(seen["loader"].get("type")),
            "Check whether train_dataloader returns the validation data, or the other way round.",
        )
