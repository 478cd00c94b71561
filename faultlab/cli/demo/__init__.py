"""What `faultlab demo` breaks: a small model, and a scenario of a few ways in which its training fails.

Only the model imports torch and Lightning, and only victims import the model.
"""
