"""Tests of faultlab/sandbox."""
