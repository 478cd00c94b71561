"""Code that several ready-made guards share. It imports nothing else of faultlab."""
