"""Training loops written by hand in PyTorch, as scenarios name them with `framework: torch`.

Of the other frameworks it imports only `faultlab.frameworks.torch`.
"""

from __future__ import annotations

NAME = "torch"
