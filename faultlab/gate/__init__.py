"""Whether reports pass, what they must not lose, and that they are what a run wrote."""
