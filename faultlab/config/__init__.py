"""Scenario files and what they name: read, checked, edited and varied.

It imports neither torch nor Lightning, and nothing of the user's.
"""
