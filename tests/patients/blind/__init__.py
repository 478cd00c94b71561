"""Blind rounds: ill trainings after public threads, written down before the doctor was shown any of them.

Each script ends with a ``score``, lower is better, that does not depend on what is ill: the ill script has a worse one
than its remedied twin.
"""
