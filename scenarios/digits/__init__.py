"""Handwritten digits: an image classifier, with and without guards."""
