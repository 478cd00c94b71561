"""Checkpoints that load less, or more, than intended: no weights, or their own learning rate."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

LOADED = Checks()
check = LOADED.check


@check("loaded weights", "AndreaCodegoni/Tiny_model_4_CD#12", "torchgeo/torchgeo#4036")
def matching(seen: Seen) -> Iterator[Finding]:
    """Find a load_state_dict with strict=False where no name matches."""
    for place, one in {one["place"]: one for one in seen.get("weights_loaded", ())}.items():
        if not one["given"] or one["matched"]:
            continue
        prefix = one["prefix"]
        example = f": it gets {one['first']}" + (f" and has {one['own']}" if one["own"] else "")
        yield wrong(
            f"load_state_dict with strict=False loads nothing: {one['module']} has none of the {one['given']} names "
            f"that it gets, and keeps its weights{example}",
            place,
            f"Strip the prefix: {{name.removeprefix({prefix!r}): value for name, value in weights.items()}}."
            if prefix
            else "Load it with strict=True, and fix the names that it reports.",
        )


@check("learning rate after resuming", "mapbox/robosat#169")
def resumed(seen: Seen) -> Iterator[Finding]:
    """Find a checkpoint whose optimizer has a different learning rate than the one now requested."""
    found = seen.get("resumes") or {}
    asked = [rate for one in seen.get("groups", ()) for rate in one["asked"]]
    kept = found.get("rates")
    if kept and len(kept) == len(asked) and any(abs(old - new) > 0.01 * new for old, new in zip(kept, asked)):
        old, new = (", ".join(f"{rate:g}" for rate in rates) for rates in (kept, asked))
        yield attention(
            f"the learning rate that configure_optimizers sets, {new}, is not used: fit resumes from "
            f"{found['path']}, and the checkpoint restores the optimizer's own, {old}",
            f"ckpt_path={found['path']}",
            "To continue at the new rate, load only the weights with load_from_checkpoint and remove ckpt_path, or "
            "set the rate in on_train_start.",
        )
