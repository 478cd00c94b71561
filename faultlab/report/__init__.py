"""Reports in words, as pages and in the formats of other tools; what they mean is settled before.

It imports neither torch nor Lightning, and nothing that runs a training.
"""
