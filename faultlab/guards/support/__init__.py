"""What several ready-made guards share. Imports nothing else of faultlab."""
