"""Has a constructor that raises."""

from tests.broken import healthy


class Model(healthy.Model):
    def __init__(self) -> None:
        raise FileNotFoundError("weights.pt is missing")
