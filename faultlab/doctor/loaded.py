"""Checkpoints that bring along less, or more, than they are meant to: no weight, or their own learning rate."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

LOADED = Checks()
check = LOADED.check


@check("weights that are loaded match", "AndreaCodegoni/Tiny_model_4_CD#12", "torchgeo/torchgeo#4036")
def matching(seen: Seen) -> Iterator[Finding]:
    """A load_state_dict with strict=False, none of whose names the module has."""
    for place, one in {one["place"]: one for one in seen.get("weights_loaded", ())}.items():
        if not one["given"] or one["matched"]:
            continue
        prefix = one["prefix"]
        example = f": it is given {one['first']}" + (f" and has {one['own']}" if one["own"] else "")
        yield wrong(
            f"load_state_dict with strict=False loads nothing: {one['module']} has none of the {one['given']} names "
            f"that it is given, and keeps its weights as they are{example}",
            place,
            f"Take the prefix off: {{name.removeprefix({prefix!r}): value for name, value in weights.items()}}."
            if prefix
            else "Load it with strict=True, and mend the names that it then says.",
        )


@check("the rate on going on", "mapbox/robosat#169")
def resumed(seen: Seen) -> Iterator[Finding]:
    """A checkpoint to go on from whose optimizer has another learning rate than is now asked for."""
    found = seen.get("resumes") or {}
    asked = [rate for one in seen.get("groups", ()) for rate in one["asked"]]
    kept = found.get("rates")
    if kept and len(kept) == len(asked) and any(abs(old - new) > 0.01 * new for old, new in zip(kept, asked)):
        old, new = (", ".join(f"{rate:g}" for rate in rates) for rates in (kept, asked))
        yield attention(
            f"the learning rate that configure_optimizers asks for, {new}, is not used: fit goes on from "
            f"{found['path']}, and the checkpoint brings the optimizer's own along, {old}",
            f"ckpt_path={found['path']}",
            "To train on at the new rate, load the weights alone with load_from_checkpoint and leave ckpt_path out, or "
            "set the rate in on_train_start.",
        )
