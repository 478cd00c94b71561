"""The detectors inside the victim: exceptions, warnings, the user's guards and the ready-made guards.

It imports neither a training framework nor the code that runs the victim, and no click, rich, pydantic or jinja2.
"""
