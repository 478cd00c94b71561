"""The example of `faultlab demo`: a small model, and a scenario with a few failure modes.

Only the model imports torch and Lightning, and only victims import the model.
"""
