"""Computed by whichever test comes first, and kept: the test that looks at it is another one."""

_kept = []
_places = (0, 1, 2)


def powers():
    """The powers of two."""
    if not _kept:
        _kept.extend(computed())
    return list(_kept)


def computed():
    """Runs in the first test alone."""
    return [2**place for place in _places]
