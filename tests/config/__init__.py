"""Tests of faultlab/config."""
