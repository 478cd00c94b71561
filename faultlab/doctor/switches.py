"""In the victim: attributes that are set on objects that do not read them, which Python allows."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

_FREEZING = "requires_grad"
_ALIKE = 0.85


def unread(module: Any) -> list[dict[str, Any]]:
    """Return attributes meant to freeze: misspelled ones of weights, and those of layers, which do not affect their
    weights.

    Each has ``on`` (a name in the module), ``name``, ``of`` ("weight" or "layer"). Weights that are frozen anyway are
    left out.
    """
    found = [
        {"on": where, "name": name, "of": "weight"}
        for where, weight in module.named_parameters()
        if weight.requires_grad
        for name, value in vars(weight).items()
        if value is False and name != _FREEZING and _alike(name)
    ]
    for where, layer in module.named_modules():
        weights = list(layer.parameters())
        if any(weight.requires_grad for weight in weights):
            found += [
                {"on": where or "the module", "name": name, "of": "layer"}
                for name, value in vars(layer).items()
                if value is False and _alike(name)
            ]
    return found


def _alike(name: str) -> bool:
    return SequenceMatcher(None, name, _FREEZING).ratio() > _ALIKE
