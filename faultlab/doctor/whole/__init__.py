"""The whole course of a script, from its first line to its last: what its stages share, and what had no effect.

It imports no Lightning. Modules whose docstring begins with "In the victim" run there, and import no click, rich,
pydantic or jinja2.
"""
