"""Hooks that undo the training: weights put back, rates overwritten, data switched by validation."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

MEDDLED = Checks()
check = MEDDLED.check


@check("weights put back", "MultimediaTechLab/YOLO#97")
def put_back(seen: Seen) -> Iterator[Finding]:
    """Find a hook that puts the weights of the start into the module."""
    idle = [f"{entry['class']}.{entry['name']}" for entry in (seen.get("files") or {}).get("uncalled", ())]
    for hook, times in (seen.get("meddling") or {}).get("weights", {}).items():
        why = f", and {', '.join(idle)}, which should have updated them, is never called" if idle else ""
        yield wrong(
            f"{hook} puts the weights of the training's start back into the module, {_often(times)}: what was learned "
            f"is lost{why}",
            hook,
            (f"Call {idle[0].rpartition('.')[2]} after each step, in on_train_batch_end; and" if idle else "Update the "
             "copy after each step, in on_train_batch_end; and")
            + " put the trained weights back after using the copy.",
        )  # fmt: skip


@check("learning rate written by hand", "Lightning-AI/pytorch-lightning#4902", "Lightning-AI/pytorch-lightning#9600")
def overwritten(seen: Seen) -> Iterator[Finding]:
    """Find a hook that writes the learning rate over the one that a schedule has set."""
    names = " and ".join(dict.fromkeys(one["name"] for one in seen.get("schedulers", ())))
    for hook, times in (seen.get("meddling") or {}).get("rates", {}).items():
        if names:
            yield attention(
                f"{hook} writes the learning rate itself, {_often(times)} over the rate that {names} had just set: "
                "the two undo each other",
                hook,
                f"Let one of them set it: remove it from {hook}, and put the warm-up into the schedule, as LambdaLR or "
                'as SequentialLR of LinearLR and yours, with "interval": "step".',
            )


@check("data switched by validation", "bennyguo/instant-nsr-pl#31")
def switched(seen: Seen) -> Iterator[Finding]:
    """Find an attribute that a validation hook sets and that training goes on with."""
    for name, hook in (seen.get("meddling") or {}).get("attributes", {}).items():
        yield wrong(
            f"{hook} sets self.{name} for validation, and nothing sets it back: after the first validation, training "
            f"uses validation's {name}",
            f"self.{name}",
            f"Set self.{name} for training in on_train_epoch_start or on_train_batch_start, not only in "
            "on_train_start; or set it back in on_validation_end.",
        )


@check("collected outputs")
def uncleared(seen: Seen) -> Iterator[Finding]:
    """Find a list of the steps' outputs that is never cleared."""
    for name, lengths in (seen.get("meddling") or {}).get("lists", {}).items():
        yield attention(
            f"self.{name} is never cleared: an epoch's value that is computed from it includes all earlier epochs, and "
            "it keeps their memory",
            f"its length at the start of the epochs: {', '.join(map(str, lengths[:5]))}",
            f"Call self.{name}.clear() at the end of the epoch's hook.",
        )


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
