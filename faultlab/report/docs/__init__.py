"""Pages of the documentation that are generated from the source.

The source is parsed, not imported, so that no page needs torch or Lightning.
"""
