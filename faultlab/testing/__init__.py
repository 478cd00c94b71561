"""Faults where the user's own code builds and trains the modules: in tests, and in plain code.

It imports Lightning through `faultlab.frameworks` alone, and neither the command line nor the pytest plugin.
"""
