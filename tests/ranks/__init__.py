"""Tests of faultlab/ranks."""
