"""The checkpoints of a loop: what is saved, the files, the weights that are loaded, and the run that continues."""

from __future__ import annotations

import copy
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Checkpoint
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.checkpoints import Save, name_of, optimizers_in, put, weights_in
from faultlab.frameworks.loops.seams.following import listening
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Restored

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Checkpoint, framework=NAME)
def checkpoint(point: Checkpoint, patches: Patches, armed: Armed, site: Site) -> None:
    loop = armed.clock.trainer

    def state(obj: Any, file: Any, save: Save) -> None:
        save(_changed(obj, armed) if armed.due() else obj, file)

    def around(obj: Any, file: Any, save: Save) -> None:
        if not armed.due():
            save(obj, file)
            return
        armed.ctx.memory["path"] = name_of(file)
        armed.around(lambda: save(obj, file))

    def content(obj: Any, file: Any, save: Save) -> None:
        if not armed.due():
            save(obj, file)
            return
        armed.ctx.memory["path"] = name_of(file)
        if isinstance(file, (str, os.PathLike)):
            save(obj, file)
            Path(file).write_bytes(armed.map(Path(file).read_bytes()))
        else:
            whole = io.BytesIO()
            save(obj, whole)
            file.write(armed.map(whole.getvalue()))

    def weights(restored: Restored) -> Restored:
        new: Restored = armed.map(restored) if armed.due() else restored
        return new

    if point.part == "resume":
        listening(patches, loop.around_resume, lambda call: armed.around(call) if armed.due("train") else call())
    elif point.part == "weights":
        listening(patches, loop.checkpoints.weight_maps, weights)
    else:
        acts = {"state": state, "save": around, "file": content}[point.part]
        listening(patches, loop.checkpoints.around_save, acts)


def _changed(obj: Any, armed: Armed) -> Any:
    """Return the object with the states in it as the injector leaves them, which knows a checkpoint of one layout."""
    weights, optimizers = list(weights_in(obj, armed.clock.trainer.roots.found)), list(optimizers_in(obj))
    # A checkpoint may consist of several files.
    if not (optimizers if any("optimizer" in need for need in armed.mode.needs) else weights):
        return obj
    named = {f"{n} {name}": value for n, (_, state) in enumerate(weights) for name, value in state.items()}
    plain = {"state_dict": named, "optimizer_states": [state for _, state in optimizers]}
    new = armed.map({key: value for key, value in plain.items() if value})
    with armed.putting_in():
        for number, (path, state) in enumerate(weights):
            # A copy of its own type, which also has the versions of the layers.
            changed: Any = copy.copy(state)
            changed.update({name: new["state_dict"][f"{number} {name}"] for name in state})
            obj = put(obj, path, changed)
        # From the last on: removing one of a list moves those behind it.
        for number, (path, _) in reversed(list(enumerate(optimizers))):
            obj = put(obj, path, new["optimizer_states"][number] if "optimizer_states" in new else None)
    return obj
