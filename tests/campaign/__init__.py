"""Tests of faultlab/campaign."""
