"""Tests of faultlab/detectors."""
