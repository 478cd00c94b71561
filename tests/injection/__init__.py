"""Tests of faultlab/injection."""
