"""Tests of faultlab/catalogue."""
