"""Tests of faultlab/mutants."""
