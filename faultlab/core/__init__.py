"""What every layer talks about, with the standard library alone: imports nothing else of faultlab."""
