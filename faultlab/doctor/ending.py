"""An exception that ended the training: its cause and remedy in the user's terms, whenever it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faultlab.doctor import statements
from faultlab.doctor.errors import Named, explained
from faultlab.doctor.finding import Seen
from faultlab.doctor.swallowed import of_the_step

_UNPACKS = ("values to unpack", "cannot unpack non-iterable")


def meaning(seen: Seen, error: Mapping[str, Any]) -> Named:
    """What an error says about the training, and what to do: by what was seen first, by its text else."""
    message, own = str(error["message"]), str(error.get("own", ""))
    if error.get("ours"):
        return Named(
            "what failed is faultlab's own look at the training, and nothing of yours",
            "Please report it with what `faultlab doctor --json` prints; the training itself may be fine.",
        )
    if "does not require grad" in message and (held := of_the_step(seen)):
        return Named(
            f"what training_step returns has no graph, for {held['type']} was swallowed before (line {held['line']})",
            "Mend the swallowed exception.",
        )
    if seen.get("automatic", True) and (stepping := by_itself(seen)):
        return stepping
    if "optimizer got an empty parameter list" in message and (none := without_weights(seen)):
        return none
    if any(words in message for words in _UNPACKS) and (fit := unpacked(seen, own)):
        return fit
    if (keys := (seen.get("batch") or {}).get("keys")) and "must be Tensor, not str" in message:
        return by_keys(keys)
    return explained(message, str(error.get("during", ""))) or Named(
        f"the exception is {message.partition(chr(10))[0]}",
        f"Look at {own or error.get('raised') or 'the lines of its traceback'}, and at what is on that line when it is "
        "raised: python -m pdb -c continue SCRIPT stops there.",
    )


def without_weights(seen: Seen) -> Named | None:
    """An optimizer that is given nothing, of a module that has weights: frozen ones, or a list that is used up."""
    found = seen.get("parameters") or {}
    names = [*found.get("changed", ()), *found.get("still", ())]
    if not names:
        return None
    if set(names) <= set(found.get("frozen", ())):
        return Named("every weight of the module is frozen: requires_grad is False", "Unfreeze what is meant to learn.")
    return Named(
        f"the optimizer is given no weight, though the module has {len(names)}: filter and generators are used up by "
        f"their "
        "first use",
        "Make a list of it: [p for p in self.parameters() if p.requires_grad].",
        "YanaiEliyahu/AdasOptimizer#2",
    )


def by_itself(seen: Seen) -> Named | None:
    """A training_step that goes back and steps by itself, while Lightning does so too."""
    steps = [entry["what"] for entry in seen.get("facts", {}).get("steps_itself", ())]
    if "step" not in steps or not any("backward" in what for what in steps):
        return None
    named = seen.get("facts", {}).get("manual_names", ())
    why = f": the attribute that is set is called {named[0]['name']}" if named else ""
    return Named(
        f"training_step does backward and steps the optimizer itself, and automatic_optimization is True{why}",
        (f"Rename self.{named[0]['name']}: write " if named else "Write ")
        + "self.automatic_optimization = False in __init__; return no loss then, or take backward and step out and "
        "return the loss.",
    )


def unpacked(seen: Seen, own: str) -> Named | None:
    """A batch that has other parts than the names that it is unpacked into."""
    batch = seen.get("batch")
    file, _, line = own.rpartition(":")
    try:
        with open(file, encoding="utf-8") as source:
            names = statements.unpacking_at(source.read(), int(line))
    except (OSError, ValueError, SyntaxError):
        return None
    if not batch or names is None or batch.get("parts") in (None, names):
        return None
    return misfit(batch, names, line)


def misfit(batch: Mapping[str, Any], names: int, line: str | int) -> Named:
    """What the loader yields, and what the step makes of it."""
    alone = batch["parts"] == 1
    why = ": the dataset has no labels" if alone and names == 2 else ""
    return Named(
        f"the loader yields {batch['is']}; line {line} unpacks {_count(names)} parts{why}",
        "Have the dataset give both, as TensorDataset(x, y) does, or take the batch as it is: x = batch."
        if alone
        else f"Unpack {batch['parts']} names there, or have the dataset's __getitem__ return {_count(names)} parts.",
    )


def by_keys(keys: Sequence[str]) -> Named:
    """A batch that is a dict, taken apart as if it were a tuple: that gives its keys."""
    names = ", ".join(f"batch[{key!r}]" for key in keys)
    return Named(
        f"a layer gets a str: the loader yields a dict with the keys {', '.join(keys)}, and to unpack or to go through "
        "a dict gives its keys",
        f"Take the parts by their keys: {names}.",
    )


def _count(number: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(number, str(number))
