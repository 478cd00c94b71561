"""Support for each training framework, one package per framework.

It imports nothing of injectors, detectors or the layers above them, and no click, rich, pydantic or jinja2.
"""
