"""The driver of a campaign: clean runs, plan, faulted runs, verdicts, and studies made of campaigns.

It imports neither torch nor Lightning, and none of discovery, doctor, mutants, testing and the command line.
"""
