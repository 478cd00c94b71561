"""Tests of faultlab/api.py."""
