"""Source mutants: mutmut makes them, and the user's tests and guards together judge them.

mutmut writes all mutants of a file into one, each function behind a trampoline that an environment variable switches.
So a process that has imported the code once, and is copied for each mutant, can judge them all. This package imports
none of doctor, testing and the command line, and no Lightning.
"""
