"""Targets with one thing wrong each, and a healthy one to compare them with."""
