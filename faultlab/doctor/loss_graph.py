"""In the victim: the tensors that the loss is computed from, according to its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MOST, _MOST_TERMS = 200_000, 500
_ARITHMETIC = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "NegBackward0")
# Means of means, and signs.
_ORDINARY = (0.0, 0.5, 1.0, 2.0, -0.5, -1.0, -2.0)


def facts(module: Any, output: Any) -> dict[str, Any] | None:
    """Return the weights that a step's loss leads back to; None if the step returns no tensor.

    ``reached`` counts the module's parameters among them, ``made`` is True if the loss is a new leaf, ``strangers`` has
    the trainable tensors that the loss depends on and that the module does not register: the ``path`` of the attribute,
    the type of the list or dict ``within`` which they are, and whether it is a bare ``tensor`` or a layer's. ``loose``
    counts those that are stored nowhere: layers made in the step itself. ``unreached`` are the names of the module's
    parameters that no graph leads to. ``twice`` has the constants that a term of the loss is multiplied with twice.
    """
    import torch

    loss = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(loss, torch.Tensor):
        return None
    if not loss.requires_grad:
        return {"reached": 0, "made": False, "strangers": [], "loose": 0, "unreached": []}
    if loss.grad_fn is None:
        return {"reached": 0, "made": True, "strangers": [], "loose": 0, "unreached": []}
    registered = {id(value) for value in module.parameters()}
    leaves = list(_leaves(loss.grad_fn))
    unknown = {id(leaf): leaf for leaf in leaves if id(leaf) not in registered}
    held = dict(_held(module, unknown)) if unknown else {}
    loose = [leaf for key, leaf in unknown.items() if key not in held and isinstance(leaf, torch.nn.Parameter)]
    return {
        "reached": len({id(leaf) for leaf in leaves} & registered),
        "unreached": [
            name for name, value in module.named_parameters() if id(value) not in {id(one) for one in leaves}
        ],
        "made": False,
        "twice": sorted(_twice(loss.grad_fn)),
        "strangers": [
            {"path": path, "within": within, "tensor": bare} for path, within, bare in sorted(set(held.values()))
        ],
        "loose": len(loose),
    }


def _twice(start: Any) -> set[float]:
    """Return the constants that are multiplied in twice on one path through the sums and products of a loss."""
    found: set[float] = set()
    waiting: list[tuple[Any, tuple[float, ...]]] = [(start, ())]
    for _ in range(_MOST_TERMS):
        if not waiting:
            break
        node, above = waiting.pop()
        kind = type(node).__name__
        if kind not in _ARITHMETIC:
            continue
        if kind == "MulBackward0":
            factors = [getattr(node, name, None) for name in ("_saved_self", "_saved_other")]
            constants = [float(one) for one in factors if one is not None and not one.dim() and not one.requires_grad]
            found |= {one for one in constants if one in above and one not in _ORDINARY}
            above = (*above, *constants)
        waiting += [(following, above) for following, _ in node.next_functions if following is not None]
    return found


def _leaves(start: Any) -> Iterator[Any]:
    waiting, known = [start], {start}
    while waiting and len(known) < _MOST:
        node = waiting.pop()
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        for following, _ in node.next_functions:
            if following is not None and following not in known:
                known.add(following)
                waiting.append(following)


def _held(module: Any, wanted: Mapping[int, Any]) -> Iterator[tuple[int, tuple[str, str, bool]]]:
    """Yield where the module's attributes hold the wanted tensors: path, type of the list or dict, bare or not."""
    import torch

    for prefix, part in module.named_modules():
        for name, value in list(vars(part).items()):
            if name.startswith("_"):
                continue
            path = ".".join(filter(None, (prefix, name)))
            items = (
                value if isinstance(value, (list, tuple)) else list(value.values()) if type(value) is dict else [value]
            )
            for item in items:
                within = "" if item is value else type(value).__name__
                if isinstance(item, torch.Tensor) and id(item) in wanted:
                    yield id(item), (path, within, True)
                elif isinstance(item, torch.nn.Module):
                    for inner in item.parameters():
                        if id(inner) in wanted:
                            yield id(inner), (path, within, False)
