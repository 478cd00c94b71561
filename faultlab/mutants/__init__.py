"""Source mutants, which mutmut generates, and the user's tests and guards judge.

mutmut writes all mutants of a file into one file, each function behind a trampoline that an environment variable
switches. So one process imports the code once, and its copies judge all mutants. This package imports neither doctor,
testing, the command line nor Lightning.
"""
