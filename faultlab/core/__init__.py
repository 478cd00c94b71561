"""Data that every layer uses: faults, orders, outcomes, trajectories, reports.

It imports the standard library and `faultlab.errors`, nothing else.
"""
