"""Milestones of a schedule that its training never reaches."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Finding, Seen, attention, wrong


def unreached(seen: Seen) -> Iterator[Finding]:
    """Find milestones between two turns, and a first one after the last turn of a whole training."""
    for one in seen.get("schedulers", ()):
        turns, milestones = one.get("turns", 0), sorted(one.get("milestones", ()))
        between = [at for at in milestones if not at.is_integer()]
        if between and turns:
            shown = ", ".join(f"{at:g}" for at in between[:4])
            share = " They look like shares of the training." if max(milestones) <= 1 else ""
            yield wrong(
                f"the milestones {shown} of {one['name']} are not integers: it compares the number of its steps with "
                f"them and never reaches one, so the learning rate is not reduced there.{share}",
                f"{turns} scheduler steps, base learning rate {one['base']:g}",
                "Pass integers in the unit that the schedule is stepped in: milestones=[int(share * steps), ...].",
            )
        elif milestones and turns and milestones[0] > turns and not seen.get("cut") and not seen.get("error"):
            yield attention(
                f"{one['name']} never changes the learning rate: its first milestone is {milestones[0]:g}, and the "
                f"training ends after {turns} scheduler steps",
                f"base learning rate {one['base']:g}",
                "Give the milestones in the unit that the schedule is stepped in, epochs or batches, within the "
                "training.",
            )
