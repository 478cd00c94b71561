"""Findings on statements and loads of a script that have no effect, or another one than their names promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

EFFECTS = Checks()


@EFFECTS.check("methods that are not called")
def uncalled(seen: Seen) -> Iterator[Finding]:
    """Find statements that name a method and do not call it."""
    for one in of(seen, "uncalled_methods")[:3]:
        yield wrong(
            f"line {one['line']} names the method {one['name']} and does not call it: it has no effect",
            f"{one['file']}:{one['line']}",
            f"Add parentheses: {one['name']}().",
        )


@EFFECTS.check("dropped results")
def dropped(seen: Seen) -> Iterator[Finding]:
    """Find calls that return a new value, which the statement drops."""
    for one in of(seen, "dropped")[:3]:
        load = one["name"].endswith("load_from_checkpoint")
        new = "a new module with the loaded weights" if load else "its result and changes nothing in place"
        yield wrong(
            f"line {one['line']} calls {one['name']}, which returns {new}, and drops what it returns: the line has no "
            "effect" + (", and the model keeps the weights that it had" if load else ""),
            f"{one['file']}:{one['line']}: {one['text']}",
            f"Assign the result and use it: model = {one['text']}."
            if load
            else f"Assign the result: x = {one['text']}.",
        )


@EFFECTS.check("copies that are initialized")
def copies(seen: Seen) -> Iterator[Finding]:
    """Find initializations that fill a copy of the weights."""
    for one in of(seen, "copies")[:1]:
        yield wrong(
            f"{one['name']} in line {one['line']} initializes a copy, {one['text']}: the weight itself does not change",
            f"{one['file']}:{one['line']}",
            f"Pass the weight itself to {one['name']}.",
        )


@EFFECTS.check("attributes without effect")
def assigned(seen: Seen) -> Iterator[Finding]:
    """Find attributes that are set on objects that do not read them."""
    for one in (seen.get("whole") or {}).get("assigned", ())[:2]:
        name, cls, value, place = one["name"], one["class"], one["value"], one["place"]
        if one["kind"] == "freeze":
            yield wrong(
                f"{name} = {value} is set on a module, a {cls}, where it is a plain attribute without effect: the "
                "module's parameters keep their own requires_grad"
                + (", are not frozen and are still trained" if value == "False" else ""),
                place,
                f"Write module.requires_grad_({value}), or set requires_grad on each of module.parameters().",
            )
        elif one["kind"] == "mode":
            yield wrong(
                f"training = {value} is set on a {cls} alone, and does not reach the layers inside it: dropout and "
                "BatchNorm keep their mode",
                place,
                "Call model.train() for training mode."
                if value == "True"
                else "Call model.eval() for evaluation mode.",
            )
        elif one["kind"] == "size":
            yield wrong(
                f"{name} = {value} is set on a {cls} that exists already, without effect: its weight keeps its shape",
                place,
                f"Replace the layer by a new one: nn.{cls}(..., {name}={value}).",
            )
        elif one["kind"] == "unread":
            yield from _unread(one)


def _unread(one: Mapping[str, Any]) -> Iterator[Finding]:
    rate = one["name"] in ("lr", "learning_rate", "weight_decay", "momentum", "betas", "eps")
    remedy = (
        f"Set it in the groups: for group in optimizer.param_groups: group[{one['name']!r}] = {one['value']}."
        if rate
        else "Pass it to the constructor, or set the attribute that the class reads; remove this one."
    )
    say = wrong if rate or one["name"] in ("shuffle", "trainable", "frozen", "freeze") else attention
    yield say(
        f"{one['name']} = {one['value']} is set on a {one['class']}, which has no such attribute and never reads it: "
        "it has no effect",
        one["place"],
        remedy,
    )


@EFFECTS.check("loaded weights", "AndreaCodegoni/Tiny_model_4_CD#12", "torchgeo/torchgeo#4036")
def loaded(seen: Seen) -> Iterator[Finding]:
    """Find loads that change nothing, because the names do not match or the tensors are the model's own."""
    for one in {one["place"]: one for one in (seen.get("whole") or {}).get("loads", ())}.values():
        prefix = one["prefix"]
        if one["given"] and (not one["matched"] or prefix) and one["lacking"]:
            share = "nothing" if not one["matched"] else f"only {one['matched']} of {one['given']} names"
            by = f"Strip or add the prefix {prefix!r} in the names" if prefix else "Rename the keys"
            yield wrong(
                f"load_state_dict with strict=False loads {share}: the keys do not match the names of the "
                f"{one['module']}, which keeps its weights: it gets {one['first']} and has {one['lacking']}",
                one["place"],
                f"{by} (name.removeprefix('module.') for one saved from DataParallel: save model.module.state_dict()), "
                "and load with strict=True, which reports missing keys.",
            )
        elif one["own"] and one["from_file"] and not one["backwards"]:
            yield wrong(
                "load_state_dict gets the model's own tensors, and nothing of the file that was read: the filter "
                "before it keeps no key of the file",
                one["place"],
                "Print the keys of both; strip a prefix such as 'module.', and load with strict=True.",
            )


@EFFECTS.check("branches that never ran")
def unrun(seen: Seen) -> Iterator[Finding]:
    """Find statements that a training relies on, under a condition that never let them run."""
    if seen.get("cut") or seen.get("error"):
        return
    told = {
        "restore": (
            "the best weights are not restored, and what is evaluated afterwards are those of the last epoch",
            "Load the best weights always after the end of the training, outside of that condition.",
            attention,
        ),
        "keep": (
            "no weights are kept as the best ones",
            "Begin with the worst value, best = float('inf') for a loss and 0 or -1 for an accuracy, and compare in "
            "the direction that is better: loss < best, accuracy > best.",
            wrong,
        ),
        "freeze": (
            "nothing is frozen or unfrozen by it",
            "Print the names that it compares, and fix the condition.",
            wrong,
        ),
        "init": (
            "no layer gets these initial weights",
            "Print the types or names that it compares, and fix the condition.",
            wrong,
        ),
        "rate": (
            "the learning rate is never changed by it",
            "Compare the numbers in the condition with the training's epochs and steps.",
            attention,
        ),
    }
    for one in of(seen, "unrun"):
        what, remedy, say = told[one["kind"]]
        yield say(
            f"line {one['line']}, `{one['text']}`, never ran: its condition in line {one['at']}, "
            f"`{one['condition']}`, was never {one['never']}: {what}",
            f"{one['file']}:{one['line']}",
            remedy,
        )


@EFFECTS.check("direction of the best")
def direction(seen: Seen) -> Iterator[Finding]:
    """Find a selection of the best epoch that keeps the worst."""
    for one in of(seen, "directions")[:1]:
        kind, sign = ("larger", "<") if one["larger"] else ("smaller", ">")
        yield wrong(
            f"the selection of the best goes the wrong way: `{one['text']}` keeps the epoch with the {kind} "
            f"{one['name']}, which is the worse one",
            f"{one['file']}:{one['line']}",
            f"Write {one['name']} {sign} {one['best']}, and begin with {'inf' if one['larger'] else '0'}.",
        )


@EFFECTS.check("value of the best", "facebookresearch/fairchem#345")
def never_updated(seen: Seen) -> Iterator[Finding]:
    """Find a best value that is compared and never updated."""
    for one in of(seen, "never_updated")[:1]:
        yield wrong(
            f"{one['bound']} is never updated and stays {one['begins']}, so `{one['text']}` is true for each finite "
            f"value: the weights that are kept as the best ones are always the latest, also after {one['value']} has "
            "become worse",
            f"{one['file']}:{one['line']}: {one['keeps']}",
            f"Write {one['bound']} = {one['value']} where the weights are kept.",
        )


@EFFECTS.check("seeds")
def seeded(seen: Seen) -> Iterator[Finding]:
    """Find a seed that is set again in each epoch or step."""
    for one in of(seen, "seeded")[:1]:
        yield attention(
            f"`{one['text']}` sets the same seed again in each epoch or step: the order of the samples, dropout and "
            "augmentation are the same each time",
            f"{one['file']}:{one['line']}",
            "Seed once, before the loop.",
        )


@EFFECTS.check("averaged weights")
def averaged(seen: Seen) -> Iterator[Finding]:
    """Find averaged weights that are kept up to date and never used."""
    for one in of(seen, "averages")[:1]:
        yield attention(
            f"the averaged weights of {one['name']} are updated and never used: nothing calls its {one['text']}, so "
            "the raw weights are evaluated",
            f"{one['file']}:{one['line']}",
            f"Call {one['text']} before the evaluation, and restore the raw weights after it.",
        )


@EFFECTS.check("value of the last batch")
def last_batch(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation that returns a value of its last batch alone."""
    for one in of(seen, "last_batch")[:1]:
        yield attention(
            f"the evaluation returns a value of the last batch alone: `{one['text']}` reads {one['name']}, which each "
            f"round of the loop in line {one['loop']} sets again",
            f"{one['file']}:{one['line']}",
            "Collect the values of all batches (a list with append, or a sum), and return their mean over all samples.",
        )


@EFFECTS.check("axes")
def swapped(seen: Seen) -> Iterator[Finding]:
    """Find a view that is meant to exchange two axes, and leaves the values where they are."""
    if entry := seen.get("swapped_axes"):
        yield attention(
            f"{entry['what']} turns the shape {tuple(entry['from'])} into {tuple(entry['to'])}, the same axes in "
            "another order, and does not move the values: samples, channels or time steps are mixed up",
            entry["place"],
            "Exchange axes with permute or transpose: x.permute(0, 2, 1); view and reshape only cut the same sequence "
            "of values into other pieces.",
        )


@EFFECTS.check("tokens ahead")
def ahead(seen: Seen) -> Iterator[Finding]:
    """Find a model of next tokens that sees them."""
    if seen.get("sees_ahead") and any(one["by"] >= 1 for one in seen.get("ahead", ())):
        yield wrong(
            "the model sees the tokens that it has to predict: its outputs for earlier tokens change with the last "
            "one, because nothing masks the future (no causal mask)",
            "a copy of the model in eval mode, called twice with texts that differ in their last token",
            "Pass a causal mask to the attention: nn.Transformer.generate_square_subsequent_mask(length) as mask, or "
            "is_causal=True.",
        )


@EFFECTS.check("direction of the schedule")
def plateau(seen: Seen) -> Iterator[Finding]:
    """Find a ReduceLROnPlateau whose mode is that of the other kind of metric."""
    for one in of(seen, "plateaus")[:1]:
        other = "max" if one["mode"] == "min" else "min"
        yield wrong(
            f"ReduceLROnPlateau with mode={one['mode']!r} is stepped with {one['name']}, which is better the "
            f"{'larger' if other == 'max' else 'smaller'} it is: it reduces the learning rate while the model improves",
            f"{one['file']}:{one['line']}",
            f"Write ReduceLROnPlateau(optimizer, mode={other!r}).",
        )


@EFFECTS.check("change of one split")
def shared(seen: Seen) -> Iterator[Finding]:
    """Find a transform that is set on a dataset which both splits are views of."""
    for one in (seen.get("whole") or {}).get("shared_changes", ())[:1]:
        yield wrong(
            f"{one['name']} is set on the {one['class']} below a split, which is the same object for training and "
            "validation: the change acts on both of them",
            one["place"],
            "Make two datasets, one with each transform, and take a Subset of each by the same indices.",
        )


def of(seen: Seen, kind: str) -> list[dict[str, Any]]:
    files = ((seen.get("whole") or {}).get("files") or seen.get("files") or {}).get(kind, ())
    return list({(one["file"], one["line"]): one for one in files}.values())
