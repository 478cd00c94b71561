"""Tests of faultlab/doctor."""
