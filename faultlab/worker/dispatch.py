"""Execution of an order in a victim: one function for each kind of task."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.core.orders import Examine, Order, Task, Train
from faultlab.frameworks.base import Target
from faultlab.worker.session import Send, Session, Snapshot

Execute = Callable[[Target, Order, Send, "Snapshot | None"], None]


def carry_out(target: Target, order: Order, send: Send, snapshot: Snapshot | None = None) -> None:
    """Execute the order in this process and send its result."""
    _BY_TASK[type(order.task)](target, order, send, snapshot)


def _train(target: Target, order: Order, send: Send, snapshot: Snapshot | None) -> None:
    Session(target, order, send, snapshot).run()


def _examine(target: Target, order: Order, send: Send, snapshot: Snapshot | None) -> None:
    assert isinstance(order.task, Examine)
    _named(order.task.by)(target, order, send)


def _named(function: str) -> Callable[..., Any]:
    """Return the function ``module:function`` of a package that the worker may not import."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


_BY_TASK: Mapping[type[Task], Execute] = {Train: _train, Examine: _examine}
