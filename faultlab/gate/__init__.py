"""Gates: whether reports pass, regressions from the accepted baseline, and checks that reports are unmodified.

It imports neither torch nor Lightning, and nothing that runs a training.
"""
