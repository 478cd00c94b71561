"""Tests of faultlab/targets."""
