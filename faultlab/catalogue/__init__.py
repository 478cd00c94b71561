"""The failure modes as data: declarations, injection points, requirements, measurements.

It imports neither torch nor Lightning, so that `faultlab list` answers immediately, and of faultlab only lower layers.
"""
