"""Imported within a test, and not while tests are collected."""


def squares(size):
    """Runs in the test that imports it first."""
    return [place * place for place in size]


SQUARES = squares([1, 2, 3])
