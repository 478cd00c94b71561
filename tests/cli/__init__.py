"""Tests of faultlab/cli."""
