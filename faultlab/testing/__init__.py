"""Faults where somebody else builds and trains the modules: in a user's tests, and in plain code."""
