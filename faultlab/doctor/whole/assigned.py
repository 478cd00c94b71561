"""In the victim: attributes that the user's code sets on torch's objects, which do not read them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Subset

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode

_MOST = 20
# Kept as numbers for the repr, or for checks; the weights have the sizes.
_SIZES = {"out_features": 0, "in_features": 1, "out_channels": 0, "in_channels": 1, "num_embeddings": 0,
          "embedding_dim": 1, "num_features": 0}  # fmt: skip
_FREEZES = "requires_grad"


class Assigned:
    """Follows assignments to attributes of modules, optimizers, schedules and loaders by the user's code.

    Args:
        code: The definition of the user's own code.
    """

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self._new: list[tuple[dict[str, Any], Any]] = []

    def attach(self, patches: Patches) -> None:
        """Follow them until the patches are removed."""
        for owner in (nn.Module, torch.optim.Optimizer, LRScheduler, DataLoader):
            patches.wrap(owner, "__setattr__", self._setting)

    def facts(self) -> list[dict[str, Any]]:
        """Return the assignments without effect: ``kind``, class, name, value and place of each."""
        return [fact for fact, owner in self._new if _still(fact, owner)]

    def _setting(self, assign: Callable[..., Any]) -> Callable[..., Any]:
        def setting(owner: Any, name: str, value: Any) -> None:
            frame = sys._getframe(1)
            # An object's own methods prepare what they read themselves.
            if len(self._new) < _MOST and frame.f_locals.get("self") is not owner and self._code.holds(frame):
                kind = self._kind(owner, name, value)
                if kind:
                    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                    self._new.append(
                        (
                            {
                                "kind": kind,
                                "class": type(owner).__name__,
                                "name": name,
                                "value": _shown(value),
                                "place": place,
                            },
                            owner,
                        )
                    )
            assign(owner, name, value)

        return setting

    def _kind(self, owner: Any, name: str, value: Any) -> str:
        if isinstance(owner, nn.Module):
            if name == _FREEZES and isinstance(value, bool):
                return "freeze"
            if name == "training" and isinstance(value, bool):
                inner = [one for one in owner.modules() if one is not owner and one.training is not value]
                return "mode" if inner else ""
            if name in _SIZES and isinstance(value, int) and getattr(owner, name, value) != value:
                return "size"
        plain = isinstance(value, (bool, int, float, str)) or value is None
        of_torch = type(owner).__module__.partition(".")[0] == "torch"
        known = name in vars(owner) or hasattr(type(owner), name) or name.startswith("_")
        return "unread" if plain and of_torch and not known and not _registered(owner, name) else ""


class SharedChanges:
    """Follows changes of a dataset's attributes through one of several subsets of it."""

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self.found: list[tuple[Any, dict[str, Any]]] = []

    def attach(self, patches: Patches) -> None:
        patches.wrap(Dataset, "__setattr__", self._setting)

    def facts(self, learnt: list[Any], evaluated: list[Any]) -> list[dict[str, Any]]:
        """Return the changes of datasets that both the training and the evaluation are subsets of."""
        mine, theirs = ([one.dataset for one in some if isinstance(one, Subset)] for some in (learnt, evaluated))
        both = [one for one in mine if any(one is other for other in theirs)]
        return [fact for dataset, fact in self.found if any(dataset is one for one in both)]

    def _setting(self, assign: Callable[..., Any]) -> Callable[..., Any]:
        def setting(owner: Any, name: str, value: Any) -> None:
            frame = sys._getframe(1)
            if (
                len(self.found) < _MOST
                and "transform" in name
                and frame.f_locals.get("self") is not owner
                and getattr(owner, name, None) is not value
                and self._code.holds(frame)
            ):
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.found.append((owner, {"name": name, "class": type(owner).__name__, "place": place}))
            assign(owner, name, value)

        return setting


def _still(fact: dict[str, Any], owner: Any) -> bool:
    """Return whether an assignment has no effect to the end."""
    if fact["kind"] == "freeze":
        return any(one.requires_grad != (fact["value"] == "True") for one in owner.parameters())
    if fact["kind"] == "size":
        weight = getattr(owner, "weight", None)
        side = _SIZES[fact["name"]]
        return weight is not None and weight.dim() > side and str(weight.shape[side]) != fact["value"]
    return True


def _registered(owner: Any, name: str) -> bool:
    held = [vars(owner).get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")]
    return any(name in one for one in held)


def _shown(value: Any) -> str:
    return repr(value)[:60]
