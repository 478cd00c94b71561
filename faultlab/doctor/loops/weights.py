"""Causes of weights that do not change, or change by other gradients than those of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Any

from faultlab.doctor import still
from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.doctor.loops import source
from faultlab.doctor.loops.mechanics import trains

WEIGHTS = Checks()
check = WEIGHTS.check
_MUCH, _DEAD, _GROWN, _REMADE = 1000.0, 0.99, 3, 5
_ROUNDED, _NOTHING = 0.3, 0.01
# They divide the gradient by its length, down to their eps.
_ANY_LENGTH, _EPS = ("Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "Lion", "Adan"), 1e-8


def any_length(seen: Seen) -> bool:
    """Return whether the length of the gradient makes no difference to the optimizers."""
    return all(name in _ANY_LENGTH or "Adam" in name for name in seen["optimizers"])


@check("new models")
def made_again(seen: Seen) -> Iterator[Finding]:
    """Find a model that is made again for each pass over the data, so that what it has learnt is lost."""
    if trains(seen) and seen["made_again"]:
        yield wrong(
            f"a new model is made for each pass over the data, {seen['made_again']} in all: each begins from random "
            "weights",
            seen["places"].get("model", ""),
            "Make the model and its optimizer once, before the loop over epochs.",
        )


@check("new optimizers")
def optimizers_made_again(seen: Seen) -> Iterator[Finding]:
    """Find an optimizer that is made again for each step, so that what it keeps between steps is lost."""
    made, steps = len(seen["optimizers"]), seen["gradients"]["steps"]
    keeping = [name for name in seen["optimizers"] if any_length({"optimizers": [name]})]
    if trains(seen) and len(keeping) >= max(_REMADE, 0.5 * steps):
        yield wrong(
            f"a new {keeping[0]} is made for each step, {made} in {steps} steps: its averages of the gradients begin "
            "again each time",
            seen["places"].get("optimizer", ""),
            "Make the optimizer once, before the loop over epochs.",
        )


@check("wrapped model", "pytorch/pytorch#69031")
def bypassed(seen: Seen) -> Iterator[Finding]:
    """Find a wrapper of the model, parallel or compiled, that the loop makes and does not call."""
    name = seen["uncalled_wrapper"]
    if not trains(seen) or not name:
        return
    compiled = name == "torch.compile"
    say = attention if compiled else wrong
    yield say(
        f"the loop calls the model itself, not what {name} returned for it: "
        + ("it is not compiled" if compiled else "its gradients are not averaged over the ranks or devices"),
        seen["places"].get("model", ""),
        f"Call what {name} returned, as in model = {name}(model), in place of the model inside (.module).",
    )


@check("gradient clearing", "Hsintien-Ng/idinvert_pytorch-reproduced#1")
def cleared(seen: Seen) -> Iterator[Finding]:
    """Find gradients that are never cleared, or cleared before they are used."""
    did, places = seen["gradients"], seen["places"]
    if not trains(seen):
        return
    if did["judged"] >= 3 and did["stale"] >= 0.5 * did["judged"]:
        yield wrong(
            "gradients are never cleared: each step uses the sum of all gradients since the beginning",
            f"before {did['stale']} of {did['judged']} steps those of the step before were still there "
            f"({places.get('step', '')})",
            "Call optimizer.zero_grad() before loss.backward() in every step.",
        )
    if did["cleared"] and did["empty_steps"] >= 0.5 * did["steps"]:
        yield wrong(
            f"gradients are cleared between backward and the step: {did['empty_steps']} of {did['steps']} steps have "
            "none to use",
            places.get("step", ""),
            "Call optimizer.zero_grad() before loss.backward(), or after optimizer.step().",
        )


@check("gradient clearing")
def thrown_away(seen: Seen) -> Iterator[Finding]:
    """Find gradients that are cleared before any step has used them, although others are used."""
    did = seen["gradients"]
    used = did["empty_steps"] < 0.5 * did["steps"]
    # The loss that is used leads back through those before it, and has their gradients too.
    if trains(seen) and used and not _leads_back(seen) and did["cleared"] >= max(_REMADE, 0.3 * did["backwards"]):
        yield wrong(
            f"the gradients of {did['cleared']} of {did['backwards']} backward passes are cleared before a step uses "
            "them: of the batches whose gradients should accumulate, only the last one counts",
            seen["places"].get("backward", ""),
            "Call optimizer.zero_grad() only after optimizer.step(), not in each batch.",
        )


@check("update rounding", "hp-l33/AiM#10")
def rounded(seen: Seen) -> Iterator[Finding]:
    """Find half-precision weights that are too far from 0 for steps of the learning rate's size."""
    found = seen["rounded_away"]
    if trains(seen) and found and found["share"] > _ROUNDED:
        yield wrong(
            f"weights are stored in {found['type']}, and steps of {found['rate']:g} are too small for "
            f"{100 * found['share']:.0f} % of them: rounding undoes each update",
            f"{found['optimizer']} with lr={found['rate']:g}",
            "Keep the weights in float32, without model.half() or .bfloat16(), and compute in half precision by "
            "torch.autocast.",
        )


@check("gradient clipping")
def clipped(seen: Seen) -> Iterator[Finding]:
    """Find a limit that leaves next to nothing of the gradients."""
    made, early = len(seen["gradients"]["clips"]), seen["gradients"]["clipped_early"]
    if trains(seen) and made >= 3 and early >= 0.9 * made:
        yield wrong(
            "gradients are clipped before backward computes them, which has no effect on those that the step uses",
            f"{early} of the first {made} clippings come after a step and before the next backward pass "
            f"({seen['places'].get('backward', '')})",
            "Clip between loss.backward() and optimizer.step().",
        )
        return
    scaled = seen["gradients"]["clipped_scaled"]
    if trains(seen) and made >= 3 and len(scaled) >= 0.9 * made:
        bound, scale = median(one for one, _ in scaled), median(one for _, one in scaled)
        # A limit may be multiplied by the scale, too.
        if bound < _NOTHING * scale:
            yield wrong(
                f"gradients are clipped to {bound:g} while they are still multiplied by the GradScaler's scale of "
                f"{scale:g}: it divides them by that afterwards, and what is left is at most {bound / scale:.1g} long",
                f"{len(scaled)} of the first {made} clippings come between scaler.scale() and scaler.unscale_()",
                "Call scaler.unscale_(optimizer) after backward and before the gradients are clipped.",
            )
        return
    clips = [(limit, norm) for limit, norm in seen["gradients"]["clips"] if norm > 0]
    if not trains(seen) or not clips:
        return
    limit, norm = median(one for one, _ in clips), median(one for _, one in clips)
    if limit < norm / _MUCH and (not any_length(seen) or limit < _EPS):
        yield wrong(
            f"gradients are clipped to {limit:g}, and are {norm:.3g} long before: next to nothing of them is left",
            f"medians of the first {len(clips)} steps",
            f"Clip to about the usual norm, such as {norm:.1g}, or remove the clipping.",
        )


@check("graph of the loss")
def graph(seen: Seen) -> Iterator[Finding]:
    """Find a loss that leads to no weight, to weights of no module, or back into earlier steps."""
    if not trains(seen):
        return
    graphs = [one for one in seen["graph"] if one]
    if graphs and not any(one["reached"] or one["strangers"] for one in graphs):
        cuts = source.cuts(seen)
        made = ": it is a new tensor with requires_grad set by hand" if all(one["made"] for one in graphs) else ""
        yield wrong(
            f"no graph leads from the loss to the weights{made}: nothing is learned",
            _places(cuts) or seen["places"].get("backward", ""),
            _without(cuts),
        )
        return
    yield from still.registered({**seen, "step": {"place": seen["places"].get("backward", "")}})
    if _leads_back(seen):
        (first, small), *_, (last, large) = seen["nodes"]
        yield wrong(
            f"the graph of the loss grows: it has {small} nodes in step {first} and {large} in step {last}, because it "
            "leads back through the losses of earlier steps",
            seen["places"].get("backward", ""),
            "Call backward on the loss of the step alone; add up loss.item(), and detach what is kept from step to "
            "step.",
        )


@check("dead units")
def dead(seen: Seen) -> Iterator[Finding]:
    """Find a ReLU that is 0 for every sample."""
    if not trains(seen):
        return
    for shape, share in seen["rectified"].items():
        if share >= _DEAD:
            yield wrong(
                f"a ReLU is dead: {100 * share:.0f} % of its outputs are 0 for every batch, so the layers before it "
                "get no gradient",
                f"outputs of shape {shape}",
                "Check the initial weights and biases of the layer before it, and the scale of the inputs.",
            )


@check("optimizer", "spro/practical-pytorch#9")
def held(seen: Seen) -> Iterator[Finding]:
    """Find an optimizer that holds other weights than those of the model that the loop calls."""
    found = seen.get("parameters")
    if not trains(seen) or not found:
        return
    total, missing = len(found["changed"]) + len(found["still"]), found["left_out"]
    if not missing:
        return
    before = f" and holds {found['gone']} weights that no model has" if found["gone"] else ""
    remedy = "Make the optimizer after the model is complete, from its parameters()."
    place = seen["places"].get("optimizer", "")
    if len(missing) + len(found["frozen"]) >= total:
        yield wrong(f"the optimizer holds none of the weights of the model that the loop calls{before}", place, remedy)
    elif found["gone"] or not set(missing) & set(found["changed"]):
        say = wrong if found["gone"] else attention
        why = f": it was made before they were{before}" if found["gone"] else ""
        yield say(f"{still.some(missing)}: no optimizer has these weights{why}", place, remedy)


@check("parameter updates")
def unchanged(seen: Seen) -> Iterator[Finding]:
    """Find weights that the optimizer holds and that did not change."""
    found = seen.get("parameters")
    did = seen["gradients"]
    if not trains(seen) or not found or (did["cleared"] and did["empty_steps"] >= 0.5 * did["steps"]):
        return
    total = len(found["changed"]) + len(found["still"])
    frozen = [name for name in found["still"] if name in found["frozen"] and name not in found["loaded"]]
    reached = any(one and one["reached"] for one in seen["graph"])
    cut = [name for name in found["still"] if name in found["gradientless"]] if reached else []
    if frozen:
        yield attention(
            f"{len(frozen)} of {total} weights did not change because requires_grad is False: {still.some(frozen)}",
            seen.get("root", {}).get("path", ""),
            "Call requires_grad_(True) on them before the optimizer is made, unless they are frozen on purpose and "
            "were loaded.",
        )
    if cut:
        places = source.cuts(seen)
        yield wrong(
            f"{len(cut)} of {total} weights did not change because no graph leads from the loss to them: "
            f"{still.some(cut)}",
            _places(places),
            _without(places),
        )
    if not found["still"]:
        yield fine(f"all {total} weights changed")


def _leads_back(seen: Seen) -> bool:
    """Return whether the graph of the loss leads back through the losses of earlier steps."""
    sizes = [number for _, number in seen["nodes"]]
    return len(sizes) > 2 and _grows(sizes)


def _grows(sizes: list[int]) -> bool:
    """Return whether sizes grow in each step, by about the same from one to the next."""
    growth = [later - earlier for earlier, later in pairwise(sizes)]
    return sizes[-1] > _GROWN * sizes[0] and min(growth) > 0.5 * max(growth)


def _places(cuts: list[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{one['what']} in {one['file']}:{one['line']}" for one in cuts[:3]))


def _without(cuts: list[dict[str, Any]]) -> str:
    names = ", ".join(dict.fromkeys(str(one["what"]) for one in cuts[:3]))
    if names:
        return f"Remove {names} between the weights and the loss; requires_grad does not restore a lost graph."
    return "Look for .item(), .detach(), torch.no_grad(), numpy or argmax between the weights and the loss."
