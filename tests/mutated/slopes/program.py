"""Runs in a process that a test starts, and in none that a test is in."""


def answer(question):
    """Killed all the same."""
    return question * 6
