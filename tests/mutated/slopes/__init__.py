"""Small trainings whose mutants each have a verdict that is known beforehand."""
