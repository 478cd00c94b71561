"""A fault attached to a running victim: decides whether it acts, runs the injector, and counts real changes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch

from faultlab.core.fault import Fault, Trigger
from faultlab.injection import tree
from faultlab.injection.activation_counter import Tally
from faultlab.injection.clock import Clock
from faultlab.injection.registry import Registered

if TYPE_CHECKING:
    from faultlab.core.target_profile import TargetProfile


Turns = Literal["one", "late"]


class BrokenInjector(BaseException):
    """The injector itself failed. Not an Exception, so that a victim's ``except`` can't hide it."""


class Context:
    """The second argument of an injector.

    Attributes:
        dose: The dose values as attributes, by name.
        profile: The target profile.
        memory: A dict that lives as long as the fault is armed.
        module: The victim's module; None before it is built.
        find_module: Returns the module of a fault that is armed before the training makes it.
        generator: A torch.Generator on the CPU, seeded by the fault; the only source of random numbers for an injector.
        step: The training step, from 0 over all epochs.
        epoch: The epoch, from 0.
        stage: train, validate, test or predict.
        rank: The process's global rank, from 0.
        trainer: The Trainer; None before the training.
    """

    def __init__(self, fault: Fault, dose: dict[str, Any], clock: Clock, profile: TargetProfile) -> None:
        self.dose = SimpleNamespace(**dose)
        self.profile = profile
        self.memory: dict[Any, Any] = {}
        self.find_module: Callable[[], Any] = lambda: None
        self._module: Any = None
        seed = hashlib.sha256(f"{fault.mode}/{sorted(dose.items())}/{fault.seed}".encode()).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))
        self._clock = clock

    @property
    def module(self) -> Any:
        """The victim's module; None before it is built."""
        return self.find_module() if self._module is None else self._module

    @module.setter
    def module(self, module: Any) -> None:
        self._module = module

    step = property(lambda self: self._clock.step, doc="the training step, from 0 over all epochs")
    epoch = property(lambda self: self._clock.epoch, doc="the epoch, from 0")
    stage = property(lambda self: self._clock.stage, doc="train, validate, test or predict")
    checking = property(lambda self: self._clock.checking, doc="whether validation is only tried out before training")
    rank = property(lambda self: self._clock.rank, doc="the process's global rank")
    trainer = property(lambda self: self._clock.trainer, doc="the Trainer, or None")

    def intended(self, error: BaseException) -> BaseException:
        """Mark an exception as the fault itself: ``raise ctx.intended(...)``.

        Any other exception that leaves the injector is a bug of the injector.

        Args:
            error: The exception.

        Returns:
            The same exception.
        """
        error.__faultlab_intended__ = True  # type: ignore[attr-defined]
        return error


class Call:
    """The original behavior that an "around" injector receives: counts its calls and remembers how they ended.

    Attributes:
        count: The number of calls.
        result: What the last call returned.
        left: The state after the last call.
        raised: The exception that ended the last call that raised.
        altered: A call was given arguments.
    """

    def __init__(self, function: Callable[..., Any], state: Callable[[], Any] | None = None) -> None:
        self._function = function
        self._state = state
        self.count = 0
        self.result: Any = None
        self.left: Any = None
        self.raised: BaseException | None = None
        self.altered = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        self.altered = self.altered or bool(args or kwargs)
        try:
            self.result = self._function(*args, **kwargs)
        except BaseException as error:
            self.raised = error
            raise
        self.left = self._state() if self._state else None
        return self.result


class Armed:
    """One fault in one process. Hooks check ``due`` and then pass the value to ``map``, ``around`` or ``in_place``."""

    def __init__(
        self,
        fault: Fault,
        registered: Registered,
        clock: Clock,
        profile: TargetProfile,
        on_first: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.fault = fault
        self.mode = registered.mode
        self.profile = profile
        self.clock = clock
        self.ctx = Context(fault, dict(self.mode.amounts(fault)), clock, profile)
        self.enabled = True
        # The original submodules that the fault replaced, by path.
        self.replaced: dict[str, torch.nn.Module] = {}
        self._tally = Tally()
        self._injector = registered.injector
        self._trigger = fault.trigger or Trigger()
        is_update = self._trigger.kind == "update"
        self._first_of_update = profile.first_step_of(int(self._trigger.number or 0)) if is_update else None
        self._stages = (self._trigger.stage,) if self._trigger.stage else self.mode.stages
        self._on_first = on_first
        self._announced = False
        # The steps in whose batches it has acted, while the steps have not begun.
        self._early: list[int] = []
        clock.on_dropped.append(self._take_back)

    @property
    def activations(self) -> int:
        return self._tally.activations

    @property
    def first_step(self) -> int | None:
        return self._tally.first_step

    @property
    def broken(self) -> str:
        return self._tally.broken

    def follow_in_workers(self) -> None:
        """Keep copies of this process informed of its step, as `victims_step`."""

        def publish(step: int) -> None:
            self._tally.step = step

        publish(self.clock.step)
        self.clock.on_step.append(publish)

    @property
    def victims_step(self) -> int:
        """The step of the victim's main process; a worker is a copy of it."""
        return self._tally.step

    def due(self, stage: str | None = None, turns: Turns | None = None) -> bool:
        """Return True if the fault acts now.

        Args:
            stage: The stage, for a hook that knows it better than the clock.
            turns: For hooks that are called many times in a step, if one call is enough for a trigger of one step:
                ``one`` acts in the first call of that step, ``late`` in the first call from that step on, because work
                done ahead may skip it.
        """
        if not self.enabled or (stage or self.clock.stage) not in self._stages:
            return False
        if self.mode.hangs and self.clock.tried:
            return False
        trigger = self._trigger
        if trigger.rank is not None and trigger.rank != self.clock.rank:
            return False
        step = self.clock.step
        first = trigger.number if trigger.kind == "step" else self._first_of_update
        if turns and first is not None:
            return not self.activations and (step == first or (turns == "late" and step > first))
        acted = self.activations if trigger.kind == "once" else 0
        return trigger.fires(step, self.clock.epoch, acted, self.fault.seed, self.profile.updates_in(step))

    def map(self, value: Any, state: Callable[[Any], Any] | None = None) -> Any:
        """Return the injector's replacement for a value; count an activation if it differs.

        Args:
            value: The healthy value, of any nesting.
            state: Returns a description of the value, for values that an injector may also change in place.

        Raises:
            BrokenInjector: The injector failed.
        """
        before = state(value) if state else None
        bare = tree.bare(value)
        new = self._inject(bare)
        with self.putting_in():
            new = value if new is bare else tree.dressed(new, like=value)
        if not tree.identical(value, new) or (state and not tree.identical(before, state(new))):
            self._acted()
        return new

    def around(
        self,
        function: Callable[..., Any],
        state: Callable[[], Any] | None = None,
        by_arguments: bool = False,
    ) -> Any:
        """Run the injector around a call; count an activation if the call was skipped, repeated or ended differently.

        Args:
            function: The original call, without arguments.
            state: Returns a description of what the call leaves behind, if an injector may undo that.
            by_arguments: Arguments that the injector passes to the call count too.

        Returns:
            The injector's result in place of the call's.

        Raises:
            BrokenInjector: The injector failed.
        """
        call = Call(function, state)
        try:
            result = self._inject(call, call)
        except BaseException as error:
            if error is not call.raised or call.count != 1 or (by_arguments and call.altered):
                self._acted()
            raise
        untouched = call.count == 1 and call.raised is None and tree.identical(call.result, result)
        untouched = untouched and not (by_arguments and call.altered)
        if not untouched or (state and not tree.identical(call.left, state())):
            self._acted()
        return result

    def surrounding(self, stage: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a wrapper for `Patches.wrap` that runs the injector around each call for which the fault is due."""

        def make(function: Callable[..., Any]) -> Callable[..., Any]:
            def surrounded(*args: Any, **kwargs: Any) -> Any:
                if not self.due(stage):
                    return function(*args, **kwargs)
                return self.around(lambda: function(*args, **kwargs))

            return surrounded

        return make

    def in_place(self, value: Any, state: Callable[[Any], Any]) -> None:
        """Let the injector change ``value`` in place; count an activation if ``state(value)`` differs afterwards.

        Args:
            value: The healthy value.
            state: Returns a description of it.

        Raises:
            BrokenInjector: The injector failed.
        """
        # The step of a copy refers to the module, the optimizers and the random numbers of the training itself.
        if self.clock.tried:
            return
        before = state(value)
        self._inject(value)
        if not tree.identical(before, state(value)):
            self._acted()

    def strike(self) -> None:
        """Run an injector that may not return because the process dies of it; count the activation first."""
        if self.clock.tried:
            return
        self._announce()
        self._acted()
        # With a call, so that what it raises on purpose is not counted again.
        self._inject(None, Call(lambda: None))

    def _inject(self, value: Any, call: Call | None = None) -> Any:
        # In a trial too: code that dies of the fault there can't report it afterwards.
        self._announce()
        if self.clock.tried:
            with self._without_trace():
                return self._injector(value, self.ctx)
        try:
            return self._injector(value, self.ctx)
        except BaseException as error:
            if getattr(error, "__faultlab_intended__", False):
                if call is None:
                    self._acted()
                raise
            if call is not None and error is call.raised:
                raise
            if self.mode.hangs:
                # The signal of a watchdog, which ends the wait.
                raise
            raise self._broken_by(error) from error

    @contextmanager
    def putting_in(self) -> Iterator[None]:
        """Treat an exception inside as the injector's: its value could not be put in place. It is not the victim's."""
        try:
            yield
        except Exception as error:
            raise self._broken_by(error) from error

    def _broken_by(self, error: BaseException) -> BrokenInjector:
        self._tally.broken = f"{type(error).__name__}: {error}"
        return BrokenInjector(f"the injector of {self.fault} failed: {self.broken}")

    @contextmanager
    def _without_trace(self) -> Iterator[None]:
        """Restore the injector's memory and random numbers afterwards."""
        drawn, memory = self.ctx.generator.get_state(), self.ctx.memory
        try:
            self.ctx.memory = copy.deepcopy(memory)
        except Exception:  # such as tensors with a graph
            self.ctx.memory = dict(memory)
        try:
            yield
        finally:
            self.ctx.memory = memory
            self.ctx.generator.set_state(drawn)

    def _announce(self) -> None:
        if not self._announced:
            # Announced before it acts: an injector that kills the process can't announce it afterwards.
            self._announced = True
            self._on_first(self.clock.step)

    def _acted(self) -> None:
        if not self.clock.tried:
            self._tally.acted(self.clock.step)
            if self.clock.early:
                begun = self.clock.next_step
                self._early = [*(step for step in self._early if step >= begun), self.clock.step]

    def _take_back(self, step: int) -> None:
        """Take back that it has acted in batches for this step and later ones: no step has trained on them."""
        self._tally.take_back(sum(early >= step for early in self._early))
        self._early.clear()
