"""In the victim: keeps what the whole course of a script shows, beside what each of its steps does."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faultlab.core.asking import asked
from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.doctor.whole import best, compared, kept, unrun, vain
from faultlab.doctor.whole.assigned import Assigned, SharedChanges
from faultlab.doctor.whole.beginnings import Beginnings
from faultlab.doctor.whole.history import History
from faultlab.doctor.whole.numberings import Numberings
from faultlab.doctor.whole.rows import Rows
from faultlab.doctor.whole.used_weights import UsedWeights
from faultlab.doctor.whole.vectors import Vectors

_MOST_FILES, _BATCHES = 40, 10


class Chronicle:
    """Follows the user's code from its first line to its last.

    Args:
        code: The definition of the user's own code.
        place: Returns the line of it that is running.
    """

    def __init__(self, code: UserCode, place: Callable[[], str]) -> None:
        self._code = code
        self._rows = Rows(place)
        self._weights = UsedWeights(place)
        self._assigned, self._shared = Assigned(code), SharedChanges(code)
        self._numberings, self._vectors = Numberings(code), Vectors(code)
        self._beginnings = Beginnings()
        self._ends = [0, 0]
        self._backwards = 0

    def attach(self, patches: Patches) -> None:
        """Follow it until the patches are removed."""
        patches.wrap(torch, "load", self._weights.reading)
        patches.wrap(nn.Module, "load_state_dict", self._weights.loading)
        patches.wrap(torch.optim.Optimizer, "load_state_dict", self._weights.restoring)
        self._assigned.attach(patches)
        self._shared.attach(patches)
        self._numberings.begin()
        patches.on_exit(self._numberings.end)

    def called(self, module: nn.Module, args: Iterable[Any], kwargs: Mapping[str, Any], learning: bool) -> None:
        """Note a call of a module by the user's code."""
        with _aside():
            self._rows.called(module, args, kwargs, learning)
            self._weights.called(module, learning)
            self._vectors.called(module)
            if learning:
                self._beginnings.called(module)
            if learning and self._backwards < _BATCHES:
                self._count_ends(module, kwargs)

    def learnt(self) -> None:
        """Note a backward pass."""
        self._numberings.end()
        with _aside():
            self._backwards += 1
            self._rows.learnt()
            self._weights.learnt()

    @property
    def history(self) -> History:
        """The evaluations of the training."""
        return self._weights.history

    def made(self, optimizer: Any) -> None:
        """Note a new optimizer."""
        self._weights.made(optimizer)

    def stepped(self, optimizer: Any) -> None:
        """Note a step of an optimizer."""
        self._weights.stepped(optimizer)

    def boundary(self) -> None:
        """Note that a loader begins."""
        self._rows.boundary()

    def facts(self, loaders: Iterable[Any], lines: set[tuple[str, int]], unsure: set[str]) -> dict[str, Any]:
        """Return what is known as plain data.

        Args:
            loaders: Those that were iterated over.
            lines: The lines that ran, as file and number.
            unsure: Files whose lines are not known whole.
        """
        with _aside():
            known, trees = list(loaders), dict(_parsed([*self._files(), *(file for file, _ in lines)]))
            read = {node.attr for tree in trees.values() for node in ast.walk(tree)
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}  # fmt: skip
            learnt = [one.loader.dataset for one in known if one.learns and asked(one.loader, "dataset") is not None]
            evaluated = [one.loader.dataset for one in known
                         if one.evaluates and not one.learns and asked(one.loader, "dataset") is not None]  # fmt: skip
            return {
                "models": self._rows.facts(),
                **self._weights.facts(),
                "assigned": [
                    one for one in self._assigned.facts() if one["kind"] != "unread" or one["name"] not in read
                ],
                "shared_changes": self._shared.facts(learnt, evaluated),
                "numberings": self._numberings.conflict(learnt, evaluated) if _one_learner(known) else {},
                "ends": self._ends,
                "vectors": self._vectors.found,
                "beginning": self._beginnings.found,
                "files": _of_files(trees, lines, unsure),
            }

    def _count_ends(self, module: nn.Module, kwargs: Mapping[str, Any]) -> None:
        """Count the tokens that end a text, and those of them that are a target, in the first batches."""
        ids, labels = kwargs.get("input_ids"), kwargs.get("labels")
        end = asked(asked(module, "config"), "eos_token_id")
        alike = isinstance(ids, torch.Tensor) and isinstance(labels, torch.Tensor) and ids.shape == labels.shape
        if not alike or not isinstance(end, int):
            return
        assert isinstance(ids, torch.Tensor)
        assert isinstance(labels, torch.Tensor)
        here = ids == end
        self._ends[0] += int(here.any(1).sum())
        self._ends[1] += int((labels[here] == end).sum())

    def sources(self, lines: Iterable[tuple[str, int]]) -> dict[str, str]:
        """Return the texts of the user's files."""
        texts = {}
        for file in list(dict.fromkeys([*self._files(), *(file for file, _ in lines)]))[:_MOST_FILES]:
            with contextlib.suppress(OSError, ValueError):
                texts[file] = Path(file).read_text(encoding="utf-8")
        return texts

    def _files(self) -> Iterator[str]:
        """Yield the user's files: those of the modules in their folders."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and self._is_own(file):
                yield file

    def _is_own(self, file: str) -> bool:
        path = Path(file)
        installed = {"site-packages", "dist-packages", "faultlab"} & set(path.parts)
        return not installed and any(path.is_relative_to(one) for one in self._code.folders)


def _one_learner(loaders: list[Any]) -> bool:
    """Return whether a single model learns: in cross-validation, each has numberings of its own."""
    return len(set[int]().union(*(one.learners for one in loaders))) <= 1


def _parsed(files: Iterable[str]) -> Iterator[tuple[str, ast.Module]]:
    for file in list(dict.fromkeys(files))[:_MOST_FILES]:
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            yield file, ast.parse(Path(file).read_bytes())


def _of_files(
    trees: Mapping[str, ast.Module], lines: set[tuple[str, int]], unsure: set[str]
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for file, tree in trees.items():
        mine = {line for name, line in lines if name == file}
        kinds: dict[str, Iterable[dict[str, Any]]] = {
            **vain.facts(tree),
            **compared.facts(tree),
            "kept": kept.facts(tree),
            "never_updated": best.facts(tree),
        }
        if mine and file not in unsure:
            kinds["unrun"] = unrun.facts(tree, mine)
        for kind, entries in kinds.items():
            found.setdefault(kind, []).extend(
                {**one, "file": file}
                for one in entries
                if kind == "unrun" or not mine or file in unsure or one["line"] in mine
            )
    return found


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Compute without being followed, and without a graph."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        yield
