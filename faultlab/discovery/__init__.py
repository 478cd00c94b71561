"""Ways to train the modules of a user's project, found by reading and trying: the work of `faultlab init`.

It imports Lightning only through `faultlab.frameworks`, and never imports doctor, mutants, testing or the command line.
"""
