"""Diabetes progression: a tabular regression."""
