"""Tests of faultlab/report."""
