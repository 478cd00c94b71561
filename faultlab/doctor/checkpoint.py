"""In the victim: the checkpoint that a training resumes from, and its progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from faultlab.core.alert import safe_text


def resumed_from(fit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return facts about the checkpoint given to fit, by the target or by the script; None if there is none.

    ``epochs`` and ``steps`` are completed, ``rates`` are the learning rates by parameter group, ``error`` is the reason
    why the file could not be read.
    """
    path = fit.get("ckpt_path")
    if path is None and (scripted := sys.modules.get("faultlab.targets.script")) is not None:
        path = next((call.get("ckpt_path") for call in scripted.fit_calls()), None)
    if path is None:
        return None
    found: dict[str, Any] = {"path": str(path)}
    if not os.path.isfile(str(path)):
        return {**found, "missing": str(path) not in ("best", "last", "hpc", "registry")}
    import torch

    try:
        # As the user's own training is about to load it.
        kept = torch.load(str(path), map_location="cpu", weights_only=False)
        done = kept["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"]
        # The schedule's base rate if there is a schedule, otherwise the optimizer's rate.
        rates = [
            float(group.get("initial_lr", group["lr"]))
            for state in kept.get("optimizer_states", ())
            for group in state["param_groups"]
        ]
        return {**found, "epochs": int(done), "steps": int(kept.get("global_step", 0)), "rates": rates}
    except Exception as error:  # a user's file can be anything
        return {**found, "error": safe_text(error, 200)}
