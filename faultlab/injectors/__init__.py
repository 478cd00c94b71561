"""What breaks: one family of failure modes a file, each a pure function under its description.

A large family goes on in files whose names begin with its own. A module of this package needs no registration: the
catalogue imports every one of them. It patches nothing, and imports no Lightning, click, rich, pydantic or jinja2.
"""
