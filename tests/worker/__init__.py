"""Tests of faultlab/worker."""
