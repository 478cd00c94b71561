"""The guard that checks that checkpoints hold the module's state and restore it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import draws, pace, parameter_samples, trainer_state
from faultlab.guards.support.guard_set import GuardSet
from faultlab.guards.support.parameter_samples import overrides_stock
from faultlab.guards.support.trainer_view import last_saved
from faultlab.guards.support.training_view import TrainingView

KEPT = "faultlab_digest"


class CheckpointsReload(Guard):
    """A guard against checkpoints that can't be read, hold other weights than the module, or are not fully restored.

    It adds checksums of the weights to each checkpoint, under a key of its own, and reads the file once after it was
    saved. When a training with this guard loads the checkpoint, the weights, the optimizers' state, the epoch and the
    step are compared.

    Changes that are made on purpose by a hook of the module or of a callback outside of Lightning are allowed, such as
    averages saved in place of the weights, or permanent pruning. Checkpoints of sharded weights are skipped.

    Args:
        largest: The size in bytes above which a checkpoint is not read.
        resumes: Whether to raise an alarm also if a training starts at step 0 beside the checkpoints of an earlier one.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {
        "missing": "a checkpoint that a callback names does not exist",
        "unreadable": "a checkpoint can't be read",
        "other-weights": "a checkpoint holds other weights than the module had when it was saved",
        "incomplete": "weights or the optimizers' state are missing from a checkpoint",
        "not-restored": "the module's weights are not those of the checkpoint that was loaded",
        "optimizer-not-restored": "the optimizers' state is not that of the checkpoint that was loaded",
        "not-resumed": "the training continues from another step than the checkpoint's, or starts from scratch",
    }
    causes = {
        "missing": "checkpoint, missing, callback",
        "unreadable": "checkpoint, truncated, corrupt, incomplete, archive, zip, read, disk, space",
        "other-weights": "checkpoint, weights, checksum, corrupt, bit, stale, changed, differ, manual, memory, "
        "dict, key, layer",
        "incomplete": "missing, weights, key, optimizer, momentum, average, parameters, only the model, "
        "save_weights_only, resumed training, hook, dict",
        "not-restored": "checkpoint, weights, not loaded, missing, unexpected, key, strict, random, initialized",
        "optimizer-not-restored": "checkpoint, optimizer, momentum, average, parameters, restored, resuming, step",
        "not-resumed": "checkpoint, resume, restored, scratch, step, training, weights",
    }

    def __init__(
        self, largest: int = 2**30, resumes: bool = False, *, action: Action = "raise", leave_out: Iterable[str] = ()
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.largest = largest
        self.resumes = resumes
        self._saved: dict[tuple[int, int], dict[str, str]] = {}
        self._checked: dict[str, tuple[int, int]] = {}
        self._pending = False
        self._in_place: tuple[Any, dict[str, str]] | None = None
        self._loaded: dict[str, Any] | None = None

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._saved, self._pending, self._in_place = {}, False, None
        # Files that already exist were not written by this training.
        self._checked = {path: stamp for path in _paths(trainer) if (stamp := _stamp(path))}

    def on_save_checkpoint(self, trainer: TrainingView, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._in_place = _in_place(trainer, pl_module, checkpoint)
        digest = _digest(checkpoint.get("state_dict"))
        if digest is None:
            self.skip("the saved weights are not tensors in this process's memory")
            return
        states = checkpoint.get("optimizer_states")
        checkpoint[KEPT] = {
            "weights": digest,
            "epoch": checkpoint.get("epoch"),
            "step": checkpoint.get("global_step"),
            "optimizers": _remembered(states),
            "own": _changes(trainer, pl_module, "on_save_checkpoint"),
        }
        self._pending = True

    def on_load_checkpoint(self, trainer: TrainingView, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get(KEPT)
        self._loaded = kept if isinstance(kept, dict) else None
        if self._loaded is None:
            return
        self.looked += 1
        changes = _changes(trainer, pl_module, "on_load_checkpoint")
        self._judge_contents("the loaded checkpoint", checkpoint, self._loaded, changes)
        state = pl_module.state_dict()
        weights: dict[str, str] = self._loaded["weights"]
        now = _digest({name: state[name] for name in weights if name in state}) or {}
        # A callback may load other weights before or after this look, so it suffices that one of the sets was restored.
        other = min((_unlike(among, now) for among in (weights, *_sets(checkpoint, "state_dict", _BESIDE))), key=len)
        lost = _missing(weights, state)
        own = changes or not getattr(pl_module, "strict_loading", True)
        whole = len(other) + len(lost) == len(weights)
        if (other or lost) and (whole or not own):
            self.alarm(
                "not-restored",
                f"{len(other) + len(lost)} of {len(weights)} weights were not loaded from the checkpoint: "
                f"{trainer_state.names(other + lost)} is not what was saved, but what the new module was randomly "
                "initialized with",
                "Compare the checkpoint's keys with those of the module; loading with strict=False only returns the "
                "keys that are missing or unexpected.",
            )

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        kept, self._loaded = self._loaded, None
        if kept is not None:
            now = _remembered([optimizer.state_dict() for optimizer in trainer.optimizers or ()])
            if kept["optimizers"] and now != kept["optimizers"]:
                self.alarm(
                    "optimizer-not-restored",
                    "the optimizers' state was not restored on resuming: it holds momentum or averages of "
                    f"{sum(now or [])} parameters, but the checkpoint holds those of {sum(kept['optimizers'])}",
                    "Check whether the optimizer is created again after loading, or was saved before its first step.",
                )
            if kept["step"] is not None and trainer.global_step != kept["step"]:
                self.alarm(
                    "not-resumed",
                    f"the training continues at step {trainer.global_step}, but the checkpoint is of step "
                    f"{kept['step']}",
                    "Restore the loops together with the weights.",
                )
        elif self.resumes and trainer.global_step == 0 and self._checked:
            self.alarm(
                "not-resumed",
                "the training starts from scratch, at step 0, beside a checkpoint of an earlier one "
                f"({trainer_state.names(sorted(self._checked))}): nothing was restored, and the checkpoint will be "
                "overwritten",
                "Pass the checkpoint to resume from to fit as ckpt_path.",
            )

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._pending:
            self._judge_in_place(pl_module)
            self._verify(trainer)

    def on_train_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if self._pending:
            self._judge_in_place(pl_module)
            self._verify(trainer)

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        if trainer.checkpoint_callbacks is None:
            self.skip("the folder of the checkpoints is not known")
        self._verify(trainer)
        # Skip paths of callbacks that write in another thread or to remote storage.
        gone = [path for path in _paths(trainer, named=True) if "://" not in path and not os.path.exists(path)]
        if gone and trainer.global_step:
            self.alarm(
                "missing",
                f"the checkpoint {trainer_state.names(gone)} is named by its callback, but does not exist",
                "Check whether something cleans up the folder, or whether the write failed.",
            )

    def _judge_in_place(self, pl_module: Any) -> None:
        in_place, self._in_place = self._in_place, None
        if in_place is None:
            return
        key, kept = in_place
        if _unlike(kept, _digest(pl_module.layer.state_dict()) or {}):
            self.alarm(
                "other-weights",
                f"a checkpoint holds saved_models[{key!r}] of the module in place of its layer's weights: under "
                "manual optimization ModelCheckpoint saves the state with the highest key, if a module has the "
                "attributes saved_models and layer",
                "Rename one of the two attributes, or keep the state of the batch itself under its batch_idx.",
            )

    def _verify(self, trainer: TrainingView) -> None:
        self._pending = False
        for path in _paths(trainer):
            stamp = _stamp(path)
            if stamp is None or self._checked.get(path) == stamp:
                continue
            self._checked[path] = stamp
            if stamp[0] <= self.largest:
                self._read(path)
            else:
                self.skip(f"a checkpoint is larger than {self.largest} bytes")

    def _read(self, path: str) -> None:
        self.looked += 1
        try:
            with draws.undrawn():
                try:
                    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
                except Exception as error:
                    if "weights_only" not in str(error) and "Unsupported" not in str(error):
                        raise
                    # The Trainer has just saved it itself, with objects of the user's own.
                    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:
            self.alarm(
                "unreadable",
                f"the checkpoint {path} can't be read back: it is truncated, corrupt or incomplete "
                f"({type(error).__name__}: {str(error)[:80]})",
                "Check the space on the disk and whether something else writes there, and keep the previous "
                "checkpoint until the new one is read.",
            )
            return
        kept = checkpoint.get(KEPT) if isinstance(checkpoint, dict) else None
        if isinstance(kept, dict):
            self._judge_contents(f"the checkpoint {path}", checkpoint, kept)

    def _judge_contents(
        self, which: str, checkpoint: dict[str, Any], kept: dict[str, Any], changed: bool = False
    ) -> None:
        weights: dict[str, str] = kept["weights"]
        held = _digest(checkpoint.get("state_dict")) or {}
        own = changed or kept["own"]
        other = min((_unlike(weights, among) for among in (held, *_sets(checkpoint, _BESIDE))), key=len)
        if other and not own:
            self.alarm(
                "other-weights",
                f"{which} (step {kept['step']}) holds other values than the module had when it was saved: the "
                f"checksum of {trainer_state.names(other)} differs; it is stale or corrupt, as by a flipped bit",
                "Look for code that changes or caches the state dict between the module and the file, and check the "
                "memory.",
            )
        lost = _missing(weights, held)
        if lost and not own:
            self.alarm(
                "incomplete",
                f"{which} lacks weights: {trainer_state.names(lost)} is missing",
                "Look for code that removes keys from the state dict.",
            )
        states = _remembered(checkpoint.get("optimizer_states"))
        if kept["optimizers"] and states != kept["optimizers"]:
            self.alarm(
                "incomplete",
                f"{which} lacks the optimizers' state (momentum, averages) of {sum(kept['optimizers'])} parameters: "
                f"it holds {'only the model' if states is None else f'that of {sum(states)}'}, and a resumed training "
                "would start without it",
                "Turn save_weights_only off, and look for a hook that replaces optimizer_states.",
            )


def _in_place(
    trainer: TrainingView, pl_module: Any, checkpoint: Mapping[str, Any]
) -> tuple[Any, dict[str, str]] | None:
    """Return the key and the checksums of the saved_models state that ModelCheckpoint may have put into the layer.

    None if it is the state of the batch itself, which is what Lightning intends.
    """
    states, layer = vars(pl_module).get("saved_models"), getattr(pl_module, "_modules", {}).get("layer")
    if parameter_samples.automatic(pl_module) or not isinstance(states, dict) or not states or layer is None:
        return None
    key = max(states)
    if key == trainer.batch_idx:
        return None
    kept = _digest(states[key])
    written = _digest(checkpoint.get("state_dict")) or {}
    return (key, kept) if kept and all(written.get(f"layer.{name}") == sum for name, sum in kept.items()) else None


def _digest(state: Any) -> dict[str, str] | None:
    """Return a checksum for each tensor by name, None if the weights are also elsewhere."""
    if not isinstance(state, Mapping):
        return None
    found: dict[str, str] = {}
    try:
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                plain = value.detach().cpu().contiguous().reshape(-1)
                found[str(name)] = f"{value.dtype}:{zlib.crc32(plain.view(torch.uint8).numpy().data)}"
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return found


def _unlike(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of tensors that are in both, with the same type, and differ."""
    shared = [name for name in one if name in other]
    return [n for n in shared if one[n] != other[n] and one[n].split(":")[0] == other[n].split(":")[0]]


def _remembered(states: Any) -> list[int] | None:
    """Return for how many parameters each optimizer has a state, None if there are no states."""
    if not isinstance(states, (list, tuple)):
        return None
    return [len(state.get("state", ())) if isinstance(state, Mapping) else 0 for state in states]


_BESIDE = "current_model_state"
"""The key that Lightning's averaging callbacks keep a second set of weights under."""


def _sets(checkpoint: Mapping[str, Any], *keys: str) -> list[dict[str, str]]:
    """Return the checksums of the sets of weights that a checkpoint has under some keys."""
    found = [_digest(checkpoint.get(key)) for key in keys]
    return [digest for digest in found if digest]


def _missing(weights: Iterable[str], state: Mapping[str, Any]) -> list[str]:
    """Return the weights that are missing, also in their permanent form if they were pruned."""
    pruned = [(name, name.removesuffix("_orig").removesuffix("_mask")) for name in weights]
    return [name for name, permanent in pruned if name not in state and permanent not in state]


def _changes(trainer: TrainingView, pl_module: Any, hook: str) -> bool:
    """Return whether a hook of the module or of a user's callback may change what is saved or loaded."""
    others = [one for one in trainer.callbacks if not isinstance(one, (Guard, GuardSet))]
    return any(overrides_stock(owner, hook) for owner in (pl_module, *others))


def _keepers(trainer: TrainingView) -> list[Any]:
    """Return the callbacks that save checkpoints, also those of the other Lightning package, unknown to the Trainer."""
    own = [*(trainer.checkpoint_callbacks or [])]
    others = [one for one in trainer.callbacks if hasattr(one, "best_model_path")]
    return [*own, *(other for other in others if other not in own)]


def _paths(trainer: TrainingView, named: bool = False) -> list[str]:
    """Return the files that checkpoint callbacks have saved; with ``named`` only the best and the last."""
    found: dict[str, None] = {}
    for callback in _keepers(trainer):
        for name in ("best_model_path", "last_model_path"):
            found[str(getattr(callback, name, "") or "")] = None
        if not named:
            found.update(dict.fromkeys(map(str, getattr(callback, "best_k_models", None) or {})))
            found[last_saved(callback)] = None
            folder = str(getattr(callback, "dirpath", "") or "")
            if folder and "://" not in folder and os.path.isdir(folder):
                found.update(dict.fromkeys(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".ckpt")))
    return [path for path in found if path]


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if os.path.isfile(path) else None
