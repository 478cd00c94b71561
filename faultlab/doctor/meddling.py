"""In the victim: what the user's hooks change besides the optimizer: weights, learning rates, attributes."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from faultlab.frameworks.torch.optimizers import rate_in

# The optimizer's own work is done inside these.
_UPDATING = ("optimizer_step", "training_step", "backward", "optimizer_zero_grad")
_EACH_BATCH = ("batch", "zero_grad", "backward", "optimizer", "_step", "transfer", "gradient")
_PLAIN = (bool, int, float, complex, type(None), list, dict, set, tuple)


class Meddling:
    """Fills ``seen["meddling"]``.

    ``weights`` counts by hook how often it put the weights back to those of the start, ``rates`` how often a hook
    wrote a learning rate over one that a schedule had just set, ``attributes`` has the attributes that a validation
    hook switched and that training then used: the hook by name, ``lists`` the lengths at the epochs' starts of lists
    that only grow.
    """

    def __init__(self, seen: dict[str, Any]) -> None:
        self.found: dict[str, dict[str, Any]] = {"weights": {}, "rates": {}, "attributes": {}, "lists": {}}
        seen["meddling"] = self.found
        self._module: Any = None
        self._start: Mapping[str, Any] = {}
        self._written: dict[str, list[float]] = {}
        self._first: dict[str, Any] | None = None
        self._switched: dict[str, tuple[str, Any]] = {}
        self._read: set[str] | None = None
        self._lengths: dict[str, list[int]] = {}

    def begin(self, module: Any, start: Mapping[str, Any]) -> None:
        """Begin with a module and its weights at the start."""
        self._module, self._start = module, start

    def epoch(self) -> None:
        """Take in the start of an epoch: a list that is longer each time has never been cleared."""
        for name, value in vars(self._module).items() if self._module is not None else ():
            if isinstance(value, list) and not name.startswith("_"):
                self._lengths.setdefault(name, []).append(len(value))
        self.found["lists"] = {
            name: lengths
            for name, lengths in self._lengths.items()
            if len(lengths) > 2 and all(before + 1 < after for before, after in itertools.pairwise(lengths))
        }

    @contextlib.contextmanager
    def hook(self, name: str, trainer: Any) -> Iterator[None]:
        """Watch a hook of the module, or of a callback as ``Class.hook``."""
        bare = name.rpartition(".")[2]
        if bare == "training_step":
            self._training()
        versions, rates = self._versions(), _rates(trainer)
        left = bare not in _UPDATING and self._moved(trainer) and not self._at_start()
        view = self._view() if bare.startswith(("on_validation", "validation_")) else None
        yield
        if left and self._put_back(bare, versions):
            self.found["weights"][name] = self.found["weights"].get(name, 0) + 1
        self._rates(name, rates, _rates(trainer))
        if view is not None:
            for key, value in self._view().items():
                if view.get(key) is not value:
                    self._switched[key] = (name, value)

    def _put_back(self, bare: str, versions: int) -> bool:
        often = any(word in bare for word in _EACH_BATCH)
        return (self._versions() != versions or not often) and self._at_start()

    def _at_start(self) -> bool:
        """Return whether all weights that are trained are those of the start."""
        import torch

        trained = [(name, value) for name, value in self._module.named_parameters() if value.requires_grad]
        return bool(trained) and all(
            name in self._start
            and self._start[name].shape == value.shape
            and torch.equal(self._start[name], value.detach().to(self._start[name]))
            for name, value in trained
        )

    def _moved(self, trainer: Any) -> bool:
        return self._module is not None and int(getattr(trainer, "global_step", 0) or 0) > 0

    def _versions(self) -> int:
        return sum(value._version for value in self._module.parameters()) if self._module is not None else 0

    def _rates(self, name: str, before: list[float], after: list[float]) -> None:
        if before == after or len(before) != len(after):
            return
        left = self._written.get(name)
        if left is not None and left != before:
            self.found["rates"][name] = self.found["rates"].get(name, 0) + 1
        self._written[name] = after

    def _view(self) -> dict[str, Any]:
        """Return the attributes that may be switched: no numbers, tensors or collections."""
        import torch

        if self._module is None:
            return {}
        return {
            name: value
            for name, value in vars(self._module).items()
            if not name.startswith("_") and not isinstance(value, (*_PLAIN, torch.Tensor, torch.nn.Module))
        }

    def _training(self) -> None:
        view = self._view()
        if self._first is None:
            self._first = view
        for name, (hook, value) in self._switched.items():
            first = self._first.get(name, value)
            if view.get(name) is value and first is not value and first != value and name in self._reading():
                self.found["attributes"].setdefault(name, hook)

    def _reading(self) -> set[str]:
        """Return the attributes that methods of the user's class read outside validation."""
        if self._read is None:
            self._read = set()
            with contextlib.suppress(OSError, TypeError, SyntaxError):
                tree = ast.parse(textwrap.dedent(inspect.getsource(type(self._module))))
                for method in ast.walk(tree):
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith(
                        ("on_valid", "valid", "on_test")
                    ):
                        self._read |= {
                            node.attr
                            for node in ast.walk(method)
                            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
                        }
        return self._read


def _rates(trainer: Any) -> list[float]:
    groups = [group for optimizer in getattr(trainer, "optimizers", None) or () for group in optimizer.param_groups]
    return [rate for group in groups if (rate := rate_in(group, "lr")) is not None]
