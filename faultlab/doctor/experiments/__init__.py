"""Experiments: the same training with one part changed, to see which change cures it.

Modules whose docstring begins with "In the victim" run there, and import no click, rich, pydantic or jinja2.
"""

KEY = "change"
"""The key of an order's variation that has the changes, by name."""
