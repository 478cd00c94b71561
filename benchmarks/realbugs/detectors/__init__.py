"""Detectors, one a file; see README.md in the folder above for the form."""
