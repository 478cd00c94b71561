"""Tests of faultlab/discovery."""
