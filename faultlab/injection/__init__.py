"""Faults in a running process, for any framework: hooks, armed faults, clock and activation counts.

It imports torch, but no framework on top of it, and no click, rich, pydantic or jinja2.
"""
