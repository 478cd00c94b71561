"""Raises when it is imported."""

raise RuntimeError("no licence found")


class Model: ...
