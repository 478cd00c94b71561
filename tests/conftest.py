pytest_plugins = ["pytester"]
# A project with tests of its own, which those of `faultlab mutate` run.
collect_ignore = ["mutated"]
