"""Support for every training with torch, whatever framework is on top.

It imports torch, but no framework on top of it.
"""
