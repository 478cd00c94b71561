"""Ordinary functions: what the tests of them see, what they miss, and what none of them runs."""


class Scale:
    """Methods without a self."""

    factor = 3

    @staticmethod
    def clamp(value):
        """Run with a clean environment."""
        return max(value, 0)

    @classmethod
    def scaled(cls, value):
        """Run on a class derived from this one."""
        return value * cls.factor

    @property
    def doubled(self):
        """Decorated: mutmut leaves it alone."""
        return self.factor * 2


class Double(Scale):
    """Has methods that are mutated where they are inherited from."""

    factor = 2


def forgotten(value):
    """No test runs it."""
    return value + 1


def named(name):
    """Run by a test that looks at nothing of it."""
    return name.lower()


def span(values):
    """Run while a class of tests is set up."""
    return values[-1] - values[0]


def rounded(value):
    """Survives, and is exempt."""
    return value + 0.5  # faultlab: ignore[a half more or less is within what is measured]
