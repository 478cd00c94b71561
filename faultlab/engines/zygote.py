"""The warm processes of the fork engine: one that has imported torch, and forked from it one per scenario.

Run as ``python -m faultlab.engines.zygote ADDRESS`` by the driver.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from faultlab.core.orders import OpenScenario, Order, Place
from faultlab.core.results import TargetFailed, message_of
from faultlab.engines import processes
from faultlab.engines.fork_server import Channel, ForkServer
from faultlab.engines.preloaded import Learning, import_quietly, import_worker
from faultlab.errors import TargetError
from faultlab.sandbox import file_calls

if TYPE_CHECKING:
    from faultlab.frameworks.base import Target


def main(address: str, learning: Learning | None = None) -> NoReturn:
    """Serve the driver at the address until it hangs up; ``learning`` is for a keeper that forked this process."""
    warm = ForkServer(address, {"fork_server": "warm"})
    from faultlab.frameworks.torch import threads

    threads.use_one()
    import_worker()
    settle()
    warm.on_control = lambda message: _import_ahead(message["import"])
    warm.on_end = lambda: _clean_up_after_driver(address)
    order, channel = warm.serve()
    _scenario(address, order, channel, learning)


def _import_ahead(module: str) -> None:
    import_quietly(module)
    settle()


def _clean_up_after_driver(address: str) -> None:
    """Remove the engine's folder if its driver was killed; one that only hangs up still listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            shutil.rmtree(os.path.dirname(address), ignore_errors=True)


def _scenario(address: str, order: Order, channel: Channel, learning: Learning | None) -> NoReturn:
    name = order.id.partition("/")[2]
    from faultlab.injection import hooks, registry
    from faultlab.worker.bootstrap import import_target

    assert isinstance(order.task, OpenScenario)
    try:
        target = import_target(order.task.scenario, order.root)
        registry.load()
        hooks.load(target.framework.name)
    except TargetError as error:
        channel.send(message_of(TargetFailed(error)))
        os._exit(0)
    learnt = {"learnt": learning.learnt(target.code.packages)} if learning is not None else {}
    serve(address, name, target, learnt)


def serve(address: str, name: str, target: Target, more: Mapping[str, Any]) -> NoReturn:
    """Serve the scenario of that name as its fork server; ``more`` goes into the greeting."""
    from faultlab.worker.dispatch import carry_out

    fork_server = ForkServer(address, {"fork_server": "construct", "scenario": name, **more})

    def prepare(message: dict[str, Any]) -> None:
        if "imports" in message:
            for module in message["imports"]:
                import_quietly(module)
            target.framework.find_plugins_once()
            target.framework.warm_up()
        for file in message.get("known", ()):
            # Not imported before: the first import of the guards decides which framework their callbacks belong to.
            from faultlab.guards import known_good

            # The guard that reads the file reports if it can't be read.
            with contextlib.suppress(Exception):
                known_good.profile_of(file)
        settle()

    fork_server.on_control = prepare
    settle()
    order, channel = fork_server.serve()

    def snapshot(place: Place) -> tuple[Order, Any] | None:
        pid = processes.fork()
        if pid:
            channel.send({"snapshot": place, "pid": pid})
            return None
        os.setsid()
        channel.close()
        gc.freeze()
        hello = {"fork_server": place, "scenario": name, "rank": order.rank}
        given, own_channel = ForkServer(address, hello).serve()
        return given, own_channel.send

    carry_out(target, order, channel.send, snapshot if order.snapshots else None)
    sys.stdout.flush()
    # No exit handlers: they belong to the processes that this one is a copy of.
    os._exit(0)


def settle() -> None:
    file_calls.look_ahead()
    # What is warm by now lives as long as every victim; scanning it in each would copy its pages.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main(sys.argv[1])
