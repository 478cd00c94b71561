import os

pytest_plugins = ["pytester"]
# A project with tests of its own, which those of `faultlab mutate` run.
collect_ignore = ["mutated"]
# Commands that tests run are told by them what service they are in.
os.environ.pop("GITHUB_ACTIONS", None)
# No process of theirs stays; the tests of those that do set it anew.
os.environ["FAULTLAB_WARM"] = "0"
