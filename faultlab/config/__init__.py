"""Reading, checking, editing and varying scenario files.

It imports neither torch nor Lightning, and none of the user's code.
"""
