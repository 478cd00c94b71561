"""In the victim: the checkpoint that a training is to go on from, and how far it has come."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from faultlab.core.alert import safe_text


def resumed_from(fit: Mapping[str, Any]) -> dict[str, Any] | None:
    """The checkpoint given to fit: by the target, or by the script as it was run; None where there is none.

    ``epochs`` and ``steps`` are those that it has done, ``rates`` its optimizers' by group, ``error`` why that can't
    be said.
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
        # A schedule's own rate, where one has begun, and the optimizer's else.
        rates = [
            float(group.get("initial_lr", group["lr"]))
            for state in kept.get("optimizer_states", ())
            for group in state["param_groups"]
        ]
        return {**found, "epochs": int(done), "steps": int(kept.get("global_step", 0)), "rates": rates}
    except Exception as error:  # whatever a user's file is
        return {**found, "error": safe_text(error, 200)}
