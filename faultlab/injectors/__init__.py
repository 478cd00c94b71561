"""The failure modes: one file per family, with one pure function per failure mode below its declaration.

A large family continues in files whose names begin with the family's name. A module of this package needs no
registration: the catalogue imports every module here. It patches nothing, and imports no Lightning, click, rich,
pydantic or jinja2.
"""
