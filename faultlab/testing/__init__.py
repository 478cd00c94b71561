"""Faults in modules that the user's own code builds and trains: in tests, and in plain code.

It imports Lightning only through `faultlab.frameworks`, and neither the command line nor the pytest plugin.
"""
