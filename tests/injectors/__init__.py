"""Tests of faultlab/injectors."""
