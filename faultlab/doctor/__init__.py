"""Checks of the environment, and causes of failing trainings: each check is a small function.

It imports Lightning only through `faultlab.frameworks`, and never imports mutants, testing or the command line. Modules
whose docstring begins with "In the victim" run there, and import no click, rich, pydantic or jinja2.
"""
