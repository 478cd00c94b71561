"""Whether reports pass, what they must not lose, and that they are what a run wrote.

It imports neither torch nor Lightning, and nothing that runs a training.
"""
