"""The failure modes as data: declarations, requirements, measurements.

It imports neither torch nor Lightning, so that `faultlab list` answers at once; of faultlab only what is below it.
"""
