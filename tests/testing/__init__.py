"""Tests of faultlab/testing."""
