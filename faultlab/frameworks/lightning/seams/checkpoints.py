"""Checkpoints on their way to disk and back."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Checkpoint
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Restored

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

_FABRIC = {"pytorch_lightning": "lightning_fabric", "lightning.pytorch": "lightning.fabric"}


@hooks(Checkpoint, framework=NAME)
def checkpoint(point: Checkpoint, patches: Patches, armed: Armed, site: Site) -> None:
    if point.part in ("state", "save", "file"):
        make = {"state": _state, "save": _save, "file": _file}[point.part]
        for namespace in namespaces.loaded():
            storage = importlib.import_module(f"{_FABRIC[namespace]}.plugins.io.torch_io").TorchCheckpointIO
            patches.wrap(storage, "save_checkpoint", lambda save: make(armed, save))
    elif point.part == "resume":
        for namespace in namespaces.loaded():
            connector = "trainer.connectors.checkpoint_connector:_CheckpointConnector"
            patches.wrap(namespaces.part(namespace, connector), "resume_start", lambda start: _resume(armed, start))
    else:
        base = namespaces.base_module(site.cls)
        patches.wrap(base, "load_state_dict", lambda load: _weights(armed, load))


def _state(armed: Armed, save: Callable[..., Any]) -> Callable[..., Any]:
    def saving(storage: Any, checkpoint: dict[str, Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        saved = armed.map(checkpoint) if armed.due() else checkpoint
        return save(storage, saved, path, *args, **kwargs)

    return saving


def _save(armed: Armed, save: Callable[..., Any]) -> Callable[..., Any]:
    def saving(storage: Any, checkpoint: dict[str, Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        if not armed.due():
            return save(storage, checkpoint, path, *args, **kwargs)
        armed.ctx.memory["path"] = path
        return armed.around(lambda: save(storage, checkpoint, path, *args, **kwargs))

    return saving


def _file(armed: Armed, save: Callable[..., Any]) -> Callable[..., Any]:
    def saving(storage: Any, checkpoint: dict[str, Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        result = save(storage, checkpoint, path, *args, **kwargs)
        file = Path(path)
        if armed.due() and file.is_file():
            armed.ctx.memory["path"] = path
            before = file.read_bytes()
            after = armed.map(before)
            if after != before:
                file.write_bytes(after)
        return result

    return saving


def _resume(armed: Armed, start: Callable[..., Any]) -> Callable[..., Any]:
    def starting(connector: Any, checkpoint_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        def call() -> Any:
            return start(connector, checkpoint_path, *args, **kwargs)

        fitting = getattr(connector.trainer.state.fn, "value", "") == "fit"
        return armed.around(call) if checkpoint_path and fitting and armed.due("train") else call()

    return starting


def _weights(armed: Armed, load: Callable[..., Any]) -> Callable[..., Any]:
    def loading(module: Any, state_dict: Any, strict: bool = True, *args: Any, **kwargs: Any) -> Any:
        if not armed.due("train"):
            return load(module, state_dict, strict, *args, **kwargs)
        new = armed.map(Restored(dict(state_dict), strict))
        return load(module, new.state, new.strict, *args, **kwargs)

    return loading
