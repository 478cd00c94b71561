"""A command, as its keeper sees it: the other end of a connection, down which messages and descriptors come."""

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
    """As long as a client ``holds`` the keeper, it is in use; ``descriptors`` are where its process is to print."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.holds = False
        self.descriptors: list[int] = []
        self._lines = Lines()

    @classmethod
    def accept(cls, listener: socket.socket) -> Client | None:
        """The next one who waits; None where it has gone, or is another user."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return None
        if keeping.peer(connection) == os.geteuid():
            return cls(connection)
        connection.close()
        return None

    def hear(self) -> list[dict[str, Any]] | None:
        """What it asks; None once it has hung up."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, _CHUNK, 2)
        except OSError:
            return None
        self.descriptors += descriptors
        return self._lines.feed(data) if data else None

    def waits(self) -> bool:
        """Whether it is still there: a command may be interrupted while the keeper imports torch."""
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
