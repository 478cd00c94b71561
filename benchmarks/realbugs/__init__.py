"""Real bugs of trainings that raised nothing, and a referee: which detectors detect them, and how often they cry wolf.

``python -m benchmarks.realbugs`` runs every detector on every bug and writes docs/validity.md. README.md beside this
file has the format of a bug and of a detector.
"""
