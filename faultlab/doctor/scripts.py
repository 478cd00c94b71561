"""The user's own scripts: the Trainers they create and the methods they call. Only read, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor.finding import Checks, Finding, Seen, attention

SCRIPTS = Checks()
check = SCRIPTS.check
_PL = "Lightning-AI/pytorch-lightning"
_NOTHING = {
    "limit_train_batches": "it trains on no batch",
    "max_epochs": "it trains no epoch",
    "max_steps": "it takes no step",
}


@check("Trainer settings")
def trainers(seen: Seen) -> Iterator[Finding]:
    """Find a Trainer that is configured to train nothing, or next to nothing."""
    for entry in _calls(seen, "Trainer"):
        place, given = f"{entry['file']}:{entry['line']}", entry["arguments"]
        for name, meaning in _NOTHING.items():
            if given.get(name) == 0 and given.get(name) is not False:
                yield attention(f"a Trainer has {name}=0: {meaning}", place, f"Remove {name}=0.")
        if given.get("fast_dev_run"):
            yield attention(
                "a Trainer has fast_dev_run: it trains on a single batch, without checkpoints and logger",
                place,
                "Remove fast_dev_run.",
            )
        if given.get("overfit_batches"):
            share = given["overfit_batches"]
            yield attention(
                f"a Trainer has overfit_batches={share}: it trains on the same few batches",
                place,
                "Remove it once the model overfits them.",
            )


@check("trainer.fit")
def fits(seen: Seen) -> Iterator[Finding]:
    """Find scripts that validate or test but never call fit."""
    evaluations = [*_calls(seen, "validate"), *_calls(seen, "test")]
    if evaluations and not _calls(seen, "fit"):
        entry = evaluations[0]
        yield attention(
            f"your scripts call trainer.{entry['call']} but never trainer.fit, the only call that trains",
            f"{entry['file']}:{entry['line']}",
            "Call trainer.fit(model).",
        )


@check("resumed training", f"{_PL}#4184", f"{_PL}#1922")
def resumed(seen: Seen) -> Iterator[Finding]:
    """Find a fit from a checkpoint, which trains nothing if that has reached max_epochs."""
    for entry in _calls(seen, "fit"):
        if path := entry["arguments"].get("ckpt_path"):
            yield attention(
                f"trainer.fit resumes from {path}; if that has reached max_epochs or max_steps, nothing is trained",
                f"{entry['file']}:{entry['line']}",
                "Set max_epochs and max_steps above what the checkpoint has completed.",
            )


@check("Lightning imports", f"{_PL}#19252")
def one_lightning(seen: Seen) -> Iterator[Finding]:
    """Find scripts of one module that import both of Lightning's packages."""
    places: dict[str, str] = {}
    for entry in _calls(seen, "import"):
        places.setdefault(entry["arguments"]["package"], f"{entry['file']}:{entry['line']}")
    if len(places) > 1:
        yield attention(
            "both lightning and pytorch_lightning are imported; their classes are not interchangeable",
            ", ".join(f"{package} in {place}" for package, place in sorted(places.items())),
            "Import from only one of them.",
        )


def _calls(seen: Seen, name: str) -> list[dict[str, Any]]:
    return [entry for entry in seen.get("scripts", ()) if entry["call"] == name]
