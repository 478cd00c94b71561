"""Tests of faultlab/engines."""
