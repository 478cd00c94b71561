"""Pages of the documentation that are generated from the source.

The source is parsed: nothing here imports torch, Lightning or the modules that a page describes.
"""
