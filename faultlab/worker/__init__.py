"""What a victim process runs, whatever the framework.

It imports no Lightning, no engine, and no click, rich, pydantic or jinja2.
"""
