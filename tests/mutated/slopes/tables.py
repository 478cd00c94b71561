"""Runs while it is imported: a copy of a process that has imported it has these mutants' results from before them."""


def weights(size):
    """Killed, but in a fresh process alone: a test looks at the table."""
    return [place + 1 for place in range(size)]


def unit(name):
    """Survives in a fresh process as well: nobody looks."""
    return name.lower()


def place(name):
    """Survives, where it is mutated at import and in the test alike."""
    return name.lower()


WEIGHTS = weights(3)
UNIT = unit("Slope")
PLACE = place("Origin")
