"""Attribute access on foreign objects whose ``__getattr__`` may raise any exception."""

from __future__ import annotations

from typing import Any

_NOTHING = object()


def asked(thing: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a foreign object, or ``default`` if it has none.

    ``getattr`` treats only AttributeError as a missing attribute. A batch whose ``__getattr__`` is that of a dict
    raises KeyError, and a lazy or remote one may raise anything.
    """
    try:
        return getattr(thing, name, default)
    except Exception:  # the object's own way of reporting a missing attribute
        return default


def has(thing: Any, name: str) -> bool:
    """Return True if a foreign object has the attribute."""
    return asked(thing, name, _NOTHING) is not _NOTHING
