"""Faults that no failure mode should be, to show what a victim may do without harm to anybody else."""
