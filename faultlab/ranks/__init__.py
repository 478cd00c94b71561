"""The processes of one training: how they meet, the process group between them, and their collectives.

It imports torch only where a training has several ranks, no Lightning, and no click, rich, pydantic or jinja2.
"""
