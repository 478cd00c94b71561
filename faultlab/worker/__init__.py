"""The code that a victim process runs, for any framework.

It imports no Lightning, no engine, and no click, rich, pydantic or jinja2.
"""
