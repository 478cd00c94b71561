"""The driver of a campaign: clean runs, plan, faulted runs, verdicts, and studies made of campaigns."""
