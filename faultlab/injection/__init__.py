"""A fault in a running process, whatever the framework: hooks, armed faults, clock and activation counts.

It imports torch and no framework that drives it, and no click, rich, pydantic or jinja2.
"""
