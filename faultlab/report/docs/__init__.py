"""Pages of the documentation that are made from the source.

The source is parsed, so that nothing here imports torch, Lightning or the modules that a page is about.
"""
