"""How the modules of a user's project can be trained, found by looking and trying: the work of `faultlab init`.

It imports Lightning through `faultlab.frameworks` alone, and none of doctor, mutants, testing and the command line.
"""
