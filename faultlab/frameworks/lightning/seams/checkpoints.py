"""Checkpoints on their way to disk and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import Checkpoint
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Restored

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Checkpoint, framework=NAME)
def checkpoint(point: Checkpoint, patches: Patches, armed: Armed, site: Site) -> None:
    if point.part in ("state", "save", "file"):
        make = {"state": _state, "save": _save, "file": _file}[point.part]
        for namespace in namespaces.loaded():
            storage = private_api.checkpoint_storage(namespace)
            patches.wrap(storage, "save_checkpoint", lambda save: make(armed, save))
            if (strategy := namespaces.sharding_strategy(namespace)) is not None:
                patches.wrap(strategy, "save_checkpoint", lambda save: _of_all_ranks(save, make(armed, save)))
    elif point.part == "resume":
        for namespace in namespaces.loaded():
            connector = private_api.part(namespace, private_api.CHECKPOINT_CONNECTOR)
            patches.wrap(connector, "resume_start", lambda start: _resume(armed, start))
    else:
        base = namespaces.base_module(site.cls)
        patches.wrap(base, "load_state_dict", lambda load: _weights(armed, load))


def _of_all_ranks(save: Callable[..., Any], faulty: Callable[..., Any]) -> Callable[..., Any]:
    """Return a strategy's method that saves a checkpoint: if every rank writes a file of its own, the faulty one."""

    def saving(strategy: Any, *args: Any, **kwargs: Any) -> Any:
        # Else it goes to the storage, whose method is faulty too.
        return (faulty if private_api.saves_on_all_ranks(strategy) else save)(strategy, *args, **kwargs)

    return saving


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
        return armed.around(lambda: save(storage, checkpoint, path, *args, **kwargs), lambda: _written(Path(path)))

    return saving


def _written(path: Path) -> list[str]:
    """Return the names of the files that make up a checkpoint."""
    return sorted(map(str, path.iterdir())) if path.is_dir() else [str(path)] * path.exists()


def _file(armed: Armed, save: Callable[..., Any]) -> Callable[..., Any]:
    def saving(storage: Any, checkpoint: dict[str, Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        result = save(storage, checkpoint, path, *args, **kwargs)
        for file in _files(Path(path), armed.clock.rank):
            if armed.due():
                armed.ctx.memory["path"] = file
                before = file.read_bytes()
                after = armed.map(before)
                if after != before:
                    file.write_bytes(after)
        return result

    return saving


def _files(path: Path, rank: int) -> list[Path]:
    """Return the files of a checkpoint that this rank has written: the checkpoint itself, or some in a folder."""
    if path.is_dir():
        return sorted(path.glob(f"__{rank}_*.distcp"))
    return [path] if path.is_file() else []


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
