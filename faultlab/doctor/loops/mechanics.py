"""A loop that trains nothing at all: it ends early, gets no batches, or lacks a part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from faultlab.doctor import ending
from faultlab.doctor.errors import Named, explained
from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong
from faultlab.doctor.loops import source
from faultlab.doctor.swallowed import SERIOUS

MECHANICS = Checks()
check = MECHANICS.check
_UNPACKS = ("values to unpack", "cannot unpack non-iterable")


def trains(seen: Seen) -> bool:
    """Return whether the loop runs to its end and has backward passes and steps, so that the rest can be judged."""
    return not seen.get("error") and bool(seen["gradients"]["backwards"] and seen["gradients"]["steps"])


@check("end of the run")
def ended(seen: Seen) -> Iterator[Finding]:
    """Find an exception that ends the training."""
    error = seen.get("error")
    if not error:
        return
    message, place = str(error["message"]).partition("\n")[0], error["own"] or error["raised"]
    named = _meaning(seen, str(error["message"]), str(error["own"]))
    steps = seen["gradients"]["steps"]
    what = f"the training ends with an exception after {steps} optimizer step{'s' * (steps != 1)}: {named.cause}"
    evidence = f"{message} ({place})" if place else message
    yield replace(wrong(what, evidence, named.remedy), links=(named.thread,) if named.thread else ())


def _meaning(seen: Seen, message: str, own: str) -> Named:
    batch = {"batch": seen.get("batch")}
    if any(words in message for words in _UNPACKS) and (fit := ending.unpacked(batch, own)):
        return fit
    if "is out of bounds" in message and (labels := ending.outside(seen)):
        return labels
    return explained(message) or Named(
        f"the exception is {message.partition(chr(10))[0]}",
        f"Inspect {own or 'the lines of its traceback'} at the moment it is raised: python -m pdb -c continue SCRIPT "
        "stops there.",
    )


@check("swallowed exceptions")
def swallowed(seen: Seen) -> Iterator[Finding]:
    """Find exceptions that are raised in the user's code and never seen."""
    batches = sum(one["delivered"] for one in seen["loaders"]) or seen["gradients"]["backwards"]
    for entry in sorted(seen.get("swallowed", ()), key=lambda one: -int(one["times"])):
        spoils = 2 * entry["times"] >= max(1, batches) or not seen["gradients"]["steps"]
        if not spoils and not (entry["broad"] or entry["type"] in SERIOUS):
            continue
        named = explained(f"{entry['type']}: {entry['message']}")
        times = f"{entry['times']} times" if entry["times"] > 1 else "once"
        message = entry["message"].rstrip(".")
        meant = f", which means: {named.cause}" if named else ""
        yield (wrong if spoils else attention)(
            f"{entry['type']} is raised in line {entry['line']} and swallowed in line {entry['handler']} by "
            f"{entry['how']}, {times}: {message}{meant}",
            f"{entry['file']}:{entry['line']}, handler in {entry['handler_file']}:{entry['handler']}",
            (f"{named.remedy} Then" if named else "Fix its cause, then")
            + " catch only what you can handle, and re-raise the rest.",
        )


@check("batches")
def empty(seen: Seen) -> Iterator[Finding]:
    """Find a loader that yields nothing."""
    for one in seen["loaders"]:
        if not one["iterations"] or one["delivered"]:
            continue
        sizes = f"{one['samples']} samples, batch_size={one['batch_size']}, drop_last={one['drop_last']}"
        too_large = one["drop_last"] and one["samples"] and one["batch_size"] and one["samples"] < one["batch_size"]
        why = ": drop_last drops the only batch, which is not full" if too_large else ""
        remedy = (
            "Set batch_size to at most the number of samples, or remove drop_last."
            if too_large
            else "Check the path, filter or split that gives the dataset its samples."
        )
        yield wrong(f"the loader yields no batch{why}", f"{sizes} ({one['place']})", remedy)


@check("batches of a step")
def unused(seen: Seen) -> Iterator[Finding]:
    """Find a backward pass that comes after the loop over the batches, and learns from the last one alone."""
    passes = seen["batches_used"]
    if (
        trains(seen)
        and len(passes) >= 2
        and all(calls > 2 and calls >= 0.5 * batches and used == 1 for batches, calls, used in passes)
    ):
        batches = passes[0][1]
        yield wrong(
            f"of {batches} batches, only the last one is learned from: backward comes once after all of them, and the "
            "loss is that of the last",
            seen["places"].get("backward", ""),
            "Indent loss.backward() and optimizer.step() into the loop over the batches.",
        )


@check("parts of the loop")
def parts(seen: Seen) -> Iterator[Finding]:
    """Find a loop without an optimizer, backward or step."""
    did, places = seen["gradients"], seen["places"]
    if (
        seen.get("error")
        or seen.get("swallowed")
        or any(one["iterations"] and not one["delivered"] for one in seen["loaders"])
    ):
        return
    if did["backwards"] and not seen["optimizers"]:
        yield wrong(
            "there is no optimizer of torch.optim: nothing changes the weights",
            places.get("backward", ""),
            "Make one: optimizer = torch.optim.Adam(model.parameters(), lr=1e-3), and call optimizer.step().",
        )
    elif did["backwards"] and not did["steps"]:
        yield _missing(seen, "step", "the optimizer is never stepped: nothing changes the weights", "backward",
                       "Call optimizer.step() after loss.backward().")  # fmt: skip
    elif not did["backwards"] and (seen["optimizers"] or did["steps"] or "model" in places):
        yield _missing(seen, "backward", "backward is never called: there are no gradients to learn from", "step",
                       "Call loss.backward() before optimizer.step().")  # fmt: skip
    elif not did["backwards"]:
        yield wrong(
            "nothing is trained: neither a model with weights nor backward is called",
            "",
            "Name the script, or the function as file.py:function, that trains.",
        )


def _missing(seen: Seen, method: str, what: str, near: str, remedy: str) -> Finding:
    place = source.uncalled(seen, method)
    why = f"; line {place.rpartition(':')[2]} names {method} without parentheses, which calls nothing" if place else ""
    return wrong(what + why, place or seen["places"].get(near, ""), remedy)
