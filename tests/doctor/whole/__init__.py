"""The doctor on whole scripts."""
