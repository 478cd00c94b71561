"""Training loops written by hand in PyTorch, as scenarios name them with `framework: torch`.

It imports no other framework.
"""

from __future__ import annotations

NAME = "torch"
