"""Causes of weights that do not change: from the optimizer back to the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.doctor.step_not_executed import calls, facts
from faultlab.doctor.swallowed import of_the_step

WEIGHTS = Checks()
_PL = "Lightning-AI/pytorch-lightning"
_SHOWN = 6
# Hooks that run between backward and the optimizer's step.
_BETWEEN = (
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "configure_gradient_clipping",
    "optimizer_step",
)
_BY_HAND = "opt = self.optimizers(); opt.zero_grad(); self.manual_backward(loss); opt.step()"


@WEIGHTS.check("parameter updates", f"{_PL}#20215")
def parameters(seen: Seen) -> Iterator[Finding]:
    """Find weights that did not change, and why."""
    found = seen.get("parameters")
    if not found or seen.get("error"):
        return
    changed = found["changed"]
    total = len(changed) + len(found["still"])
    # Frozen and in eval mode, a part such as a teacher is meant to stay as it is.
    meant = set(found["resting"]) if changed else set()
    found = {**found, "still": [name for name in found["still"] if name not in meant]}
    still = found["still"]
    if not total:
        yield attention("the module has no parameters", "", "Assign layers to self in __init__.")
        return
    if still:
        for part in _by_reason(found) if changed else [still]:
            # Whoever leaves weights as they were loaded may train the rest alone, without freezing them.
            left_out = set(part) <= set(found["left_out"]) and not seen.get("weights_loaded")
            say = wrong if not changed or left_out else attention
            reason, remedy = _why({**seen, "parameters": {**found, "still": part}}, not changed)
            what = f"{len(part)} of {total} parameters" if changed else "no parameter"
            yield say(f"{what} {'did not change' if changed else 'has changed'}{reason}", some(part), remedy)
    else:
        yield fine(f"all {total - len(meant)} parameters changed" + (", except for frozen ones" if meant else ""))


@WEIGHTS.check("unregistered weights", "optuna/optuna#1443")
def registered(seen: Seen) -> Iterator[Finding]:
    """Find weights that the loss depends on but no optimizer can have, because the module does not register them."""
    graphs = [graph for graph in seen.get("graph", ()) if graph]
    strangers = list({tuple(one.values()): one for graph in graphs for one in graph["strangers"]}.values())
    if strangers:
        plain = all(one["tensor"] for one in strangers)
        yield wrong(
            f"the loss depends on {some([_held(one) for one in strangers])}, which the module does not register: no "
            "optimizer trains it, and no checkpoint contains it",
            f"self.{strangers[0]['path']}",
            "Wrap it in nn.Parameter."
            if plain
            else "Store layers in nn.ModuleList or nn.ModuleDict, weights in nn.Parameter.",
        )
    if loose := max((graph["loose"] for graph in graphs), default=0):
        yield wrong(
            f"the loss depends on {loose} weights that are created in the step itself: each step has new ones, and "
            "no optimizer trains them",
            seen["step"]["place"],
            "Create the layers once, in __init__, as attributes of self.",
        )


@WEIGHTS.check("frozen weights", "udacity/deep-learning-v2-pytorch#12")
def freezing(seen: Seen) -> Iterator[Finding]:
    """Find weights that are trained although an attribute was set to freeze them."""
    entries = list(seen.get("switches", ()))
    for name in dict.fromkeys(entry["name"] for entry in entries):
        here = [entry for entry in entries if entry["name"] == name]
        on = some([entry["on"] for entry in here])
        misspelled = here[0]["of"] == "weight"
        why = "torch reads only requires_grad" if misspelled else "a layer's own attribute does not affect its weights"
        yield wrong(
            f"{name} = False is set but freezes nothing: {why}, and they are trained",
            f"{name} of {on}",
            "Write param.requires_grad = False." if misspelled else "Call requires_grad_(False) on the layer.",
        )


def why_no_graph(seen: Seen) -> tuple[str, str, str]:
    """Return why nothing leads from the loss to a weight: the reason, the place, and the remedy."""
    cuts = facts(seen, "cuts")
    where = ", ".join(dict.fromkeys(f"{cut['what']} in line {cut['line']}" for cut in cuts[:_SHOWN]))
    graphs = [graph for graph in seen.get("graph", ()) if graph]
    made = bool(graphs) and all(graph["made"] for graph in graphs)
    reason = (
        "the loss is a newly created tensor with requires_grad set by hand: no graph leads from it to the weights"
        if made
        else "no graph leads from the loss to the weights"
    )
    names = ", ".join(dict.fromkeys(str(cut["what"]) for cut in cuts[:_SHOWN]))
    remedy = (
        f"Remove {names} between the weights and the loss; requires_grad does not restore a lost graph."
        if cuts
        else "Look for .item(), .detach(), torch.no_grad(), numpy or argmax between the weights and the loss."
    )
    return reason, where, remedy


def some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _held(stranger: Mapping[str, Any]) -> str:
    kinds = "tensor" if stranger["tensor"] else "", stranger["within"]
    described = " in ".join(f"a {kind}" for kind in kinds if kind)
    return f"{stranger['path']} ({described})" if described else str(stranger["path"])


def _by_reason(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the unchanged weights in groups: frozen ones, those without an optimizer, and the rest."""
    frozen, left_out = set(found["frozen"]), set(found["left_out"])
    parts = [
        [name for name in found["still"] if name in frozen],
        [name for name in found["still"] if name in left_out],
        [name for name in found["still"] if name not in frozen | left_out],
    ]
    return [part for part in parts if part]


def _why(seen: Seen, none_changed: bool) -> tuple[str, str]:
    found = seen["parameters"]
    still = set(found["still"])
    automatic = seen.get("automatic", True)
    if (held := of_the_step(seen)) and none_changed:
        return (
            f" because {held['type']} is swallowed in line {held['handler']}",
            "Fix the swallowed exception.",
        )
    if automatic and seen.get("outputs", {}).get("none") == calls(seen):
        return " because training_step returns None", "Return the loss."
    put_back = list((seen.get("meddling") or {}).get("weights", ()))
    if none_changed and put_back:
        return f" at the end: {', '.join(put_back)} puts back those of the start", "Change that hook."
    if not found["optimizers"]:
        return " because configure_optimizers returns no optimizer", "Return one that has self.parameters()."
    if still <= set(found["frozen"]):
        return " because requires_grad is False", "Unfreeze the weights that should be trained."
    if still <= set(found["left_out"]) | set(found["frozen"]):
        if found.get("another"):
            return (
                f" because no optimizer has them: it holds the {found['gone']} parameters of another module, with the "
                "same shapes",
                "Pass the module's own parameters to the optimizer in configure_optimizers: self.parameters().",
            )
        if found.get("gone"):
            return (
                f" because no optimizer has them: it was created before they were, and holds {found['gone']} "
                "weights that are no longer in the module",
                "Create the optimizer in configure_optimizers, after the last layer has been added or replaced.",
            )
        if len(found["optimizers"]) > 1:
            return " because no optimizer has them", "Give them to the optimizer that should train them."
        return (
            " because no optimizer has them",
            "Give the optimizer self.parameters(); call requires_grad_(False) on parts that should stay as they are.",
        )
    if found["largest_rate"] == 0:
        return " because the learning rate is 0", "Check the rate and its scheduler's start."
    if none_changed and not automatic:
        return _by_hand(seen)
    if none_changed and _cut_off(seen):
        reason, where, remedy = why_no_graph(seen)
        return f" because {reason}" + (f" ({where})" if where else ""), remedy
    if none_changed and any(entry["kind"] == "one class" for entry in seen.get("compared", ())):
        return (
            " because the loss is a softmax over one class, which is 1 whatever the weights are",
            "Use BCEWithLogitsLoss for one output, or give the last layer two.",
        )
    if none_changed and _reached(seen):
        between = [name for name in _BETWEEN if name in seen.get("own_hooks", ())]
        look = f"Check your {', '.join(between)}, and print" if between else "Print"
        return (
            ", although a graph leads from the loss to them: their gradients are zero, or lost before the step",
            f"{look} [p.grad for p in self.parameters()] in on_before_optimizer_step.",
        )
    if not none_changed and still <= _unreached(seen):
        found_cuts = [*facts(seen, "cuts"), *(seen.get("files") or {}).get("cuts", ())]
        where = ", ".join(dict.fromkeys(f"{cut['what']} in line {cut['line']}" for cut in found_cuts[:_SHOWN]))
        names = ", ".join(dict.fromkeys(str(cut["what"]) for cut in found_cuts[:_SHOWN]))
        return (
            " because no graph leads from the loss to them" + (f" ({where})" if where else ""),
            f"Remove {names} between them and the loss, if they should be trained."
            if names
            else "Use what they compute in the loss, or remove them: the step may call another layer than it should.",
        )
    return "", "Check whether the loss depends on them."


def _by_hand(seen: Seen) -> tuple[str, str]:
    """Return which of backward and step is missing under manual optimization."""
    did = {entry["what"] for entry in facts(seen, "steps_itself")}
    backward = bool(did & {"backward", "manual_backward"})
    if not seen.get("optimizer_steps") and "step" not in did:
        missing = "steps no optimizer" if backward else "calls neither backward nor step"
        return (
            f" because automatic_optimization is False and training_step {missing}",
            f"Remove self.automatic_optimization = False, or do both in training_step: {_BY_HAND}.",
        )
    if not backward:
        return (
            " because automatic_optimization is False and training_step steps the optimizer without backward",
            f"Call self.manual_backward(loss) before opt.step(): {_BY_HAND}.",
        )
    return " although training_step steps the optimizer", "Check whether zero_grad is called between backward and step."


def _cut_off(seen: Seen) -> bool:
    return any(seen.get("graph", ())) and not _reached(seen)


def _unreached(seen: Seen) -> set[str]:
    """Return the weights that no graph led to in any of the steps that were looked at."""
    graphs = [set(graph.get("unreached", ())) for graph in seen.get("graph", ()) if graph]
    return set.intersection(*graphs) if graphs else set()


def _reached(seen: Seen) -> bool:
    graphs: list[dict[str, Any]] = [graph for graph in seen.get("graph", ()) if graph]
    return any(graph["reached"] for graph in graphs)
