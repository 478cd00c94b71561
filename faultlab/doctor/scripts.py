"""The user's own scripts: what Trainers they make, and what they call on them. Read and not run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention

SCRIPTS = Checks()
check = SCRIPTS.check
_PL = "Lightning-AI/pytorch-lightning"
_NOTHING = {
    "limit_train_batches": "no batch is trained on",
    "max_epochs": "no epoch is trained",
    "max_steps": "no step is done",
}


@check("Trainers in your scripts")
def trainers(seen: Seen) -> Iterator[Finding]:
    """A Trainer that is told to train nothing, or next to nothing."""
    for entry in _calls(seen, "Trainer"):
        place, given = f"{entry['file']}:{entry['line']}", entry["arguments"]
        for name, meaning in _NOTHING.items():
            if given.get(name) == 0 and given.get(name) is not False:
                yield attention(f"a Trainer has {name}=0: {meaning}", place, f"Remove {name}=0.")
        if given.get("fast_dev_run"):
            yield attention("a Trainer has fast_dev_run: one batch, no checkpoint, no logger", place, "Remove it.")
        if given.get("overfit_batches"):
            share = given["overfit_batches"]
            yield attention(
                f"a Trainer has overfit_batches={share}: it trains on the same few batches",
                place,
                "Remove it once the model overfits them.",
            )


@check("fit is called")
def fits(seen: Seen) -> Iterator[Finding]:
    """Scripts that validate or test, and none that fits."""
    evaluations = [*_calls(seen, "validate"), *_calls(seen, "test")]
    if evaluations and not _calls(seen, "fit"):
        entry = evaluations[0]
        yield attention(
            f"your scripts call trainer.{entry['call']} and nowhere trainer.fit, and that alone trains",
            f"{entry['file']}:{entry['line']}",
            "Call trainer.fit(model).",
        )


@check("resumed training", f"{_PL}#4184", f"{_PL}#1922")
def resumed(seen: Seen) -> Iterator[Finding]:
    """A fit from a checkpoint that has reached max_epochs trains no further."""
    for entry in _calls(seen, "fit"):
        if path := entry["arguments"].get("ckpt_path"):
            yield attention(
                f"trainer.fit goes on from {path}; where that has reached max_epochs or max_steps, nothing is trained",
                f"{entry['file']}:{entry['line']}",
                "Give more of them than the checkpoint has done.",
            )


@check("one Lightning", f"{_PL}#19252")
def one_lightning(seen: Seen) -> Iterator[Finding]:
    """Both of Lightning's packages are imported by the scripts of one module."""
    places: dict[str, str] = {}
    for entry in _calls(seen, "import"):
        places.setdefault(entry["arguments"]["package"], f"{entry['file']}:{entry['line']}")
    if len(places) > 1:
        yield attention(
            "both lightning and pytorch_lightning are imported; their classes are not each other's",
            ", ".join(f"{package} in {place}" for package, place in sorted(places.items())),
            "Import from one of them everywhere.",
        )


def _calls(seen: Seen, name: str) -> list[dict[str, Any]]:
    return [entry for entry in seen.get("scripts", ()) if entry["call"] == name]
