"""Training loops written by hand in PyTorch, as scenarios name them with `framework: torch`."""

from __future__ import annotations

NAME = "torch"
