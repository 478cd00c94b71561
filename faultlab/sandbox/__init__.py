"""What surrounds the user's code while a run goes on: an overlay over the user's folders, and its last words.

It imports neither torch nor Lightning, and no click, rich, pydantic or jinja2.
"""
