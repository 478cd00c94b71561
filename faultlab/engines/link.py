"""The driver's connection to one fork server."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

from faultlab.core.messages import Lines, encode
from faultlab.core.orders import Order, Place


class Link:
    """The connection to one fork server."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.setblocking(False)
        self.unsent = bytearray()
        self.lines = Lines()
        self.place: Place | None = None
        self.rank = 0
        self.scenario = ""
        self.pid = 0
        self.running: dict[tuple[str, int], tuple[Order, float]] = {}

    def send(self, message: Mapping[str, Any]) -> None:
        self.unsent += encode(message)
        self.flush()

    def flush(self) -> None:
        """Send what the fork server accepts now; never wait for it, because it may be waiting for the driver."""
        try:
            while self.unsent:
                del self.unsent[: self.socket.send(self.unsent)]
        except BlockingIOError:
            return
        except OSError:
            # The end of its stream shows that a fork server is gone; its orders are taken back there.
            self.unsent.clear()

    def give(self, order: Order) -> None:
        self.running[order.id, order.rank] = (order, time.monotonic())
        self.send({"order": order.to_json()})
