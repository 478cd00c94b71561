"""Tests of faultlab/core."""
