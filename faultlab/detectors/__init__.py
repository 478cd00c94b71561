"""Who detected, as seen inside the victim: exceptions, warnings, the user's guards and the ready-made ones.

It imports neither a training framework nor what runs the victim, and no click, rich, pydantic or jinja2.
"""
