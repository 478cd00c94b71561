"""Tests of faultlab/gate."""
