"""What every layer talks about: faults, orders, outcomes, trajectories, reports.

It imports the standard library alone, and of faultlab nothing but the errors.
"""
