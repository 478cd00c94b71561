"""A keeper's connection to a command, which receives messages and descriptors."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any

from faultlab.core.messages import Lines, encode
from faultlab.engines import keeping

_CHUNK = 1 << 16


class Client:
    """A command that is connected to the keeper.

    The keeper is in use as long as a client ``holds`` it; ``descriptors`` are where the client's process prints.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.holds = False
        self.descriptors: list[int] = []
        self._lines = Lines()

    @classmethod
    def accept(cls, listener: socket.socket) -> Client | None:
        """Accept the next connection; return None if it is gone or belongs to another user."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return None
        if keeping.peer(connection) == os.geteuid():
            return cls(connection)
        connection.close()
        return None

    def receive(self) -> list[dict[str, Any]] | None:
        """Return the client's messages; None once it has hung up."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, _CHUNK, 2)
        except OSError:
            return None
        self.descriptors += descriptors
        return self._lines.feed(data) if data else None

    def waits(self) -> bool:
        """Return True if the client is still connected: a command may be interrupted while the keeper imports torch."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def answer(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(encode(message))

    def forget_descriptors(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    def close(self) -> None:
        self.forget_descriptors()
        self.socket.close()
