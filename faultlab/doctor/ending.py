"""An exception that ended the training: its cause and remedy in the user's terms, at any point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from faultlab.doctor import statements
from faultlab.doctor.errors import Named, explained
from faultlab.doctor.finding import Finding, Seen, attention, wrong
from faultlab.doctor.swallowed import of_the_step

_UNPACKS = ("values to unpack", "cannot unpack non-iterable")
_SEVERAL = re.compile(r"'(list|tuple|dict)' object has no attribute|must be Tensor, not (list|tuple|dict)")
_WAITS = re.compile(r"(conditioned on metric `?|monitor='?)(?P<key>[^`'\s,)]+)")
_OUTSIDE = "is out of bounds"
_DOUBLE = re.compile(r"[Ff]loat\b.*\b[Dd]ouble|[Dd]ouble\b.*\b[Ff]loat")
_TWICE = "backward through the graph a second time"


def meaning(seen: Seen, error: Mapping[str, Any]) -> Named:
    """Return an error's cause and remedy, from what the doctor saw if possible, otherwise from its text."""
    message, own = str(error["message"]), str(error.get("own", ""))
    if error.get("ours"):
        return Named(
            "faultlab's own inspection of the training failed, not your code",
            "Please report it with the output of `faultlab doctor --json`; your training itself may be fine.",
        )
    if "does not require grad" in message and (held := of_the_step(seen)):
        return Named(
            f"the loss that training_step returns has no graph, because {held['type']} was swallowed before (line "
            f"{held['line']})",
            "Fix the swallowed exception.",
        )
    if seen.get("automatic", True) and (stepping := by_itself(seen)):
        return stepping
    if "optimizer got an empty parameter list" in message and (none := without_weights(seen)):
        return none
    if any(words in message for words in _UNPACKS) and (fit := unpacked(seen, own)):
        return fit
    if (keys := (seen.get("batch") or {}).get("keys")) and "must be Tensor, not str" in message:
        return by_keys(keys)
    if (kind := _SEVERAL.search(message)) and (whole := taken_whole(seen, own, kind[1] or kind[2])):
        return whole
    if _DOUBLE.search(message) and (double := in_double(seen)):
        return double
    if _OUTSIDE in message and (labels := outside(seen)):
        return labels
    if _TWICE in message and (twice := backward_twice(seen)):
        return twice
    if (waits := _WAITS.search(message)) and (past := logged_past(seen, waits["key"])):
        return past
    return explained(message, str(error.get("during", ""))) or Named(
        f"the exception is {message.partition(chr(10))[0]}",
        f"Inspect {own or error.get('raised') or 'the lines of its traceback'} at the moment it is raised: python "
        "-m pdb -c continue SCRIPT stops there.",
    )


def ended_by(seen: Seen, error: Mapping[str, Any], what: str) -> Finding:
    """Return the finding for an error: ``what`` it did to the training, its cause, message, place and remedy."""
    found = meaning(seen, error)
    message = str(error["message"]).partition("\n")[0]
    place = error["own"] or error["raised"]
    say = attention if error.get("ours") else wrong
    return replace(
        say(f"{what}: {found.cause}", f"{message} ({place})" if place else message, found.remedy),
        links=(found.thread,) if found.thread else (),
    )


def without_weights(seen: Seen) -> Named | None:
    """Explain an optimizer without weights in a module that has some: they are frozen, or an iterator is exhausted."""
    found = seen.get("parameters") or {}
    names = [*found.get("changed", ()), *found.get("still", ())]
    if not names:
        return None
    if set(names) <= set(found.get("frozen", ())):
        return Named(
            "every weight of the module is frozen: requires_grad is False",
            "Unfreeze the weights that should be trained.",
        )
    return Named(
        f"the optimizer gets no weights, although the module has {len(names)}: filter and generators are exhausted "
        "after their first use",
        "Make a list of them: [p for p in self.parameters() if p.requires_grad].",
        "YanaiEliyahu/AdasOptimizer#2",
    )


def by_itself(seen: Seen) -> Named | None:
    """Explain a training_step that calls backward and steps the optimizer, while Lightning does so too."""
    steps = [entry["what"] for entry in seen.get("facts", {}).get("steps_itself", ())]
    if "step" not in steps or not any("backward" in what for what in steps):
        return None
    named = seen.get("facts", {}).get("manual_names", ())
    why = f": the attribute that is set is called {named[0]['name']}" if named else ""
    return Named(
        f"training_step calls backward and steps the optimizer itself, but automatic_optimization is True{why}",
        (f"Rename self.{named[0]['name']}: write " if named else "Write ")
        + "self.automatic_optimization = False in __init__, and return no loss; or remove backward and step, and "
        "return the loss.",
    )


def unpacked(seen: Seen, own: str) -> Named | None:
    """Explain a batch that has a different number of parts than the names it is unpacked into."""
    batch = seen.get("batch")
    file, _, line = own.rpartition(":")
    try:
        with open(file, encoding="utf-8") as source:
            names = statements.unpacking_at(source.read(), int(line))
    except (OSError, ValueError, SyntaxError):
        return None
    if not batch or names is None:
        return None
    if keys := batch.get("keys"):
        parts = ", ".join(f"batch[{key!r}]" for key in keys)
        return Named(
            f"the loader yields {batch['is']}; line {line} unpacks {_count(names)} parts, and a dict unpacks into "
            "its keys",
            f"Get the parts by their keys: {parts}.",
        )
    if batch.get("parts") in (None, names):
        return None
    return misfit(batch, names, line)


def logged_past(seen: Seen, key: str) -> Named | None:
    """Explain a metric that a callback or a schedule waits for, and that only a logger gets."""
    for entry in seen.get("facts", {}).get("past_the_trainer", ()):
        if key in entry["keys"]:
            return Named(
                f"{entry['what']} in line {entry['line']} writes {key} only to the logger, but callbacks and schedules "
                "see only what self.log gets",
                f'Write self.log("{key}", value) instead of {entry["what"]}; the logger gets it too.',
                "Lightning-AI/pytorch-lightning#8455",
            )
    return None


def in_double(seen: Seen) -> Named | None:
    """Explain what is float64 where float32 is expected, if it is not the batch."""
    weight = (seen.get("labels") or {}).get("weight")
    if weight:
        return Named(
            f"the loss gets class weights in {weight}, as numpy creates them, and predictions in float32",
            "Convert the weight: torch.tensor(weights, dtype=torch.float32), or weight.float().",
            "sebsk/CS224N-Project#2",
        )
    kinds = (seen.get("batch") or {}).get("types")
    if not kinds or "float64" in kinds:
        return None
    return Named(
        "a tensor is float64 (double, as numpy creates them) where float32 is expected, and not the batch, which "
        f"is {', '.join(kinds)}: the step, forward or __init__ makes a tensor from an array",
        "Convert it where it is made: torch.from_numpy(array).float(), or tensor.float().",
    )


def outside(seen: Seen) -> Named | None:
    """Explain labels that are not class numbers of the last layer, by what the loss got."""
    found = seen.get("labels") or {}
    values, classes = found.get("values", ()), found.get("classes", 0)
    if not values or (min(values) >= 0 and max(values) < classes):
        return None
    shown = f"{', '.join(map(str, values[:-1]))} to {values[-1]}" if found["different"] > 3 else _listed(values)
    cause = f"the labels are {shown}, but the last layer has {classes} outputs, for the classes 0 to {classes - 1}"
    if values == [1, classes] or (min(values) == 1 and max(values) == classes):
        return Named(cause, "Number the classes from 0: y - 1.")
    if found["different"] <= classes and max(values) > classes + 1:
        return Named(
            cause,
            f"Map the labels to class numbers: (y == {max(values)}).long() or (y > 0).long() for two classes, a "
            "table for more. Label images hold gray values. Pass a label that should not count to the loss as "
            "ignore_index.",
        )
    return Named(
        cause,
        f"Give the last layer {max(values) + 1} outputs if there are that many classes; pass a label that should "
        "not count, such as -1 or 255, to the loss as ignore_index.",
    )


def taken_whole(seen: Seen, own: str, kind: str) -> Named | None:
    """Explain a batch of several parts, or of one in a list, that is used as a tensor."""
    batch = seen.get("batch") or {}
    # Later steps may fail on a list of the user's own.
    if seen.get("batches") or batch.get("kind") != kind:
        return None
    line = own.rpartition(":")[2]
    if kind == "dict":
        remedy = f"Get the tensors by their keys: batch[{(batch.get('keys') or ['key'])[0]!r}]."
    elif batch.get("parts") == 1:
        remedy = "Get its only part: x = batch[0]. A TensorDataset yields a list even for one tensor."
    else:
        remedy = f"Unpack it first: {', '.join(('x, y', 'z')[: 1 + (batch.get('parts') == 3)])} = batch."
    return Named(f"the loader yields {batch['is']}, and line {line} uses it as a tensor", remedy)


def backward_twice(seen: Seen) -> Named | None:
    """Explain a second backward within the first step, where nothing can be left from an earlier one."""
    own = [entry["what"] for entry in seen.get("facts", {}).get("steps_itself", ()) if "backward" in entry["what"]]
    if seen.get("batches"):
        return None
    if seen.get("automatic", True):
        if not own:
            return None
        return Named(
            "training_step calls backward itself, which frees the graph, and the Trainer calls it again on the loss "
            "that it returns",
            "Remove backward() and return the loss; or set self.automatic_optimization = False in __init__, and "
            "also step the optimizer yourself.",
        )
    if len(own) < 2:
        return None
    return Named(
        "two losses of one step go back through the same forward pass, and the first backward has freed its graph",
        "Detach what the first loss should not train, such as the discriminator's input: fake.detach(); if both "
        "losses train it, add them and call manual_backward once.",
    )


def misfit(batch: Mapping[str, Any], names: int, line: str | int) -> Named:
    """Explain the difference between what the loader yields and what the step unpacks."""
    alone = batch["parts"] == 1
    why = ": the dataset has no labels" if alone and names == 2 else ""
    return Named(
        f"the loader yields {batch['is']}; line {line} unpacks {_count(names)} parts{why}",
        "Make the dataset return both, as TensorDataset(x, y) does, or use the batch as it is: x = batch."
        if alone
        else f"Unpack {batch['parts']} names there, or make the dataset's __getitem__ return {_count(names)} parts.",
    )


def by_keys(keys: Sequence[str]) -> Named:
    """Explain a batch that is a dict and unpacked like a tuple, which yields its keys."""
    names = ", ".join(f"batch[{key!r}]" for key in keys)
    return Named(
        f"a layer gets a str: the loader yields a dict with the keys {', '.join(keys)}, and unpacking or iterating "
        "over a dict yields its keys",
        f"Get the parts by their keys: {names}.",
    )


def _count(number: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(number, str(number))


def _listed(values: Sequence[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, values[:-1])), str(values[-1]))))
