"""Python's own help texts: a character-level language model."""
