"""Messages between the driver and its processes: lines of JSON, whatever values a victim has."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from faultlab.core.alert import safe_text


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line; values that JSON can't represent are replaced by their text.

    A victim's values must not break the channel.
    """
    try:
        line = json.dumps(message, default=safe_text)
    except (ValueError, TypeError, RecursionError):
        line = json.dumps({key: safe_text(value) for key, value in message.items()})
    return line.encode() + b"\n"


class Lines:
    """A buffer that collects bytes and returns the messages of complete lines."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        self._buffer += data
        *complete, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        messages = []
        for line in complete:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a victim wrote into the pipe itself
            if isinstance(message, dict):
                messages.append(message)
        return messages
