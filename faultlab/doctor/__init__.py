"""Whether the environment is fit for training, and why a training goes wrong: each check a small function.

It imports Lightning through `faultlab.frameworks` alone, and none of mutants, testing and the command line. Modules
that run in victims say so, and import no click, rich, pydantic or jinja2.
"""
