"""The surroundings of the user's code during a run: an overlay over the user's folders, and its last output.

It imports neither torch nor Lightning, and no click, rich, pydantic or jinja2.
"""
