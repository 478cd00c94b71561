"""A function that trains, as a scenario names it, and what evaluates the model that it trained."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faultlab.config.variations import Variation, varied
from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.errors import TargetError
from faultlab.frameworks import registry
from faultlab.frameworks.base import Framework
from faultlab.frameworks.loops import NAME, trainers
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.observed_run import observe
from faultlab.injection.mutant_activation import Executions

PREPARE = "__faultlab_prepare__"
_NAME = {
    "train": "Name a function that trains.",
    "evaluate": "Name a function that takes the trained module.",
    "guards": "Name a class of guards.",
}


@dataclass
class BuiltLoop:
    """A training loop that is ready to be called. It makes its module itself, once it runs.

    ``train`` trains to the end, and ``resume`` continues what ``train`` began, None where the scenario does not name
    how. ``evaluate`` gives the metrics of a module, None where the scenario names nothing that does; ``step`` is the
    owner and name of the user's training step, where the scenario names one. ``metrics`` is where else it reports.
    ``mutated`` is set if the code has source mutants.
    """

    train: Callable[[], Any]
    layout: Layout
    evaluate: Callable[..., Any] | None = None
    resume: Callable[[], Any] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    step: tuple[Any, str] | None = None
    mutated: bool = False
    module: Any = None
    guards: Mapping[str, Any] = field(default_factory=dict)


class LoopTarget:
    """A scenario's training loop. Constructing it imports the user's code and observes one clean run of it."""

    flags: Mapping[str, Any] = {}

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        self.executions: Executions | None = None
        self._scenario = scenario
        self._train = _callable(scenario.get("train"), ("train",))
        _prepare(scenario.get("train"))
        self._resume = _continuation(scenario.get("train"), scenario.get("resume"))
        self._evaluate = _evaluation(scenario.get("evaluate"))
        self._step = _step(scenario.get("step"))
        self._guards = [_guard(entry, number) for number, entry in enumerate(scenario.get("guards") or ())]
        self._layout: Layout | None = None

    def __repr__(self) -> str:
        return f"LoopTarget({self._scenario!r})"

    @property
    def framework(self) -> Framework:
        """Plain PyTorch."""
        return registry.named(NAME)

    @property
    def code(self) -> UserCode:
        """The packages that the scenario names, and the folders beside it."""
        entries = [self._scenario.get("train"), self._scenario.get("evaluate"), *(self._scenario.get("guards") or ())]
        packages = {str(entry["class_path"]).partition(".")[0] for entry in entries if entry}
        return UserCode(frozenset(packages | {"__main__"}), tuple(self._scenario.get("path", ())))

    @property
    def ranks(self) -> int:
        """The number of processes that train together."""
        return int(self._scenario.get("ranks", 1))

    @property
    def layout(self) -> Layout:
        """The layout of the loop, observed when it is first asked for."""
        if self._layout is None:
            self._layout = observe(self._train, self.code.folders, self.ranks)
            # Imported once, in the process that all runs are copies of.
            trainers.loop_of(self._layout)
        return self._layout

    @property
    def functions(self) -> tuple[Callable[[], Any], Callable[[Any], Any] | None]:
        """The functions that train and evaluate, for whom the loop's layout is of no use."""
        return self._train, self._evaluate

    def build(self, root: str, with_flags: bool = True, variation: Variation | None = None) -> BuiltLoop:
        """Return the loop, ready to be called.

        Raises:
            NotVariedError: The function that trains takes no argument that the variation changes.
        """
        if variation is not None:
            return LoopTarget(varied(self._scenario, variation)).build(root, with_flags)
        guards: dict[str, Any] = {}
        for number, (name, make) in enumerate(self._guards):
            guard = _checked(make(), number)
            name = name or type(guard).__name__
            guards[name if name not in guards else f"{name}-{number}"] = guard
        metrics = self._scenario.get("metrics") or {}
        parts = self._train, self.layout, self._evaluate, self._resume, metrics, self._step
        return BuiltLoop(*parts, mutated=self.executions is not None, guards=guards)


def named(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return the user's function of one whose arguments are bound; it is what modules import by its name."""
    return function.func if isinstance(function, functools.partial) else function


def _callable(entry: Any, where: tuple[str | int, ...], given: tuple[str, ...] = ()) -> Callable[[], Any]:
    """Return the function of an entry with its arguments bound, which the scenario has at ``given``, if elsewhere.

    Raises:
        TargetError: It can't be imported or called so.
    """
    function = _imported(entry, where)
    arguments = dict(entry.get("init_args") or {})
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        at = (*(given or where), "init_args") if arguments else (*where, "class_path")
        raise TargetError(at, f"{entry['class_path']}: {error}", "Give its arguments under init_args.") from None
    except ValueError:  # some functions in C have no signature
        pass
    return functools.partial(function, **arguments)


def _guard(entry: Mapping[str, Any], number: int) -> tuple[str, Callable[[], Any]]:
    """Return the name that the scenario gives a guard, empty for none, and what makes the guard."""
    return str(entry.get("name") or ""), _callable(entry, ("guards", number))


def _checked(guard: Any, number: int) -> Any:
    """Return a guard; raise TargetError unless it is a callback."""
    # Not imported before: the first import of the guards decides which framework their callbacks belong to.
    from faultlab.guards.support.callback import HOOKS

    if not all(callable(getattr(guard, hook, None)) for hook in HOOKS):
        message = f"{type(guard).__name__!r} is not a Callback"
        remedy = "Derive it from faultlab.guards.Guard, or remove it."
        raise TargetError(("guards", number, "class_path"), message, remedy)
    return guard


def _prepare(entry: Any) -> None:
    """Have the function do what it does once for all runs, as importing what a script imports."""
    function = _imported(entry, ("train",))
    if (prepare := getattr(function, PREPARE, None)) is not None:
        prepare(("train",), **dict(entry.get("init_args") or {}))


def _continuation(entry: Any, resume: Any) -> Callable[[], Any] | None:
    """Return the function with its arguments for a run that continues from its checkpoints."""
    if resume is None:
        return None
    arguments = {**(entry.get("init_args") or {}), **(resume.get("init_args") or {})}
    return _callable({**entry, "init_args": arguments}, ("train",), ("resume",))


def _evaluation(entry: Any) -> Callable[..., Any] | None:
    if not entry:
        return None
    function = _imported(entry, ("evaluate",))
    return functools.partial(function, **dict(entry.get("init_args") or {}))


def _step(path: Any) -> tuple[Any, str] | None:
    """Return the owner and the name of a training step: a function of a module, or a method of a class.

    Raises:
        TargetError: There is no such function.
    """
    if not path:
        return None
    owner_path, _, name = str(path).rpartition(".")
    try:
        owner = importlib.import_module(owner_path)
    except ImportError:
        owner = _imported({"class_path": owner_path}, ("step",))  # type: ignore[assignment]
    if not callable(getattr(owner, name, None)):
        raise TargetError(("step",), f"{owner_path!r} has no function {name!r}", "Name the function of one step.")
    return owner, name


def _imported(entry: Any, where: tuple[str | int, ...]) -> Callable[..., Any]:
    path = str((entry or {}).get("class_path", ""))
    module, _, name = path.rpartition(".")
    at = (*where, "class_path")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        remedy = "Run from the folder that holds the module, or install what it imports."
        raise TargetError(at, f"can't import {module!r}: no module named {error.name!r}", remedy) from None
    except Exception as error:  # whatever a user's module does when it is imported
        message = f"importing {module!r} raised {type(error).__name__}: {safe_text(error)}"
        raise TargetError(at, message, "It must be importable before it can be broken.") from error
    if found is None:
        raise TargetError(at, f"{module!r} has no {name!r}", _NAME.get(str(where[0]), ""))
    if not callable(found):
        raise TargetError(at, f"{path!r} is not a function", _NAME.get(str(where[0]), ""))
    return found  # type: ignore[no-any-return]
