"""The doctor on training loops that are written by hand: what is observed of a loop, and the causes of one that fails.

It imports no Lightning. Modules whose docstring begins with "In the victim" run there, and import no click, rich,
pydantic or jinja2.
"""
