"""What a victim process runs in, whatever the framework: imports no Lightning, no click, rich, pydantic or jinja2."""
