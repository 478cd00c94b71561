"""Scenario files and what they name: read, checked, edited and varied. Nothing of the user's is imported."""
