"""A loop that with one of its mutants never ends, and with another ends all the same."""


def countdown(count):
    """`count += 1` never ends; `count = 1` is equivalent."""
    while count > 1:
        count -= 1
    return count


def rows(count):
    """A generator."""
    for row in range(count):
        yield row * 2
