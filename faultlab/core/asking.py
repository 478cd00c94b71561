"""Objects of somebody else's asked for their attributes, whatever their ``__getattr__`` raises."""

from __future__ import annotations

from typing import Any

_NOTHING = object()


def asked(thing: Any, name: str, default: Any = None) -> Any:
    """The attribute of a foreign object, or ``default`` where it has none.

    ``getattr`` takes AttributeError alone for an answer; a batch whose ``__getattr__`` is that of a dict answers with
    KeyError, a lazy or remote one with anything.
    """
    try:
        return getattr(thing, name, default)
    except Exception:  # the object's own way of saying no
        return default


def has(thing: Any, name: str) -> bool:
    """Whether a foreign object has the attribute."""
    return asked(thing, name, _NOTHING) is not _NOTHING
