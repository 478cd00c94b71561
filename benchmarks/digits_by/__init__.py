"""The digits classifier of `scenarios/digits/loop.py`, trained by other frameworks than Lightning."""
