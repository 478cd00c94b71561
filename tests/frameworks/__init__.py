"""Tests of faultlab/frameworks, and a framework made up for them."""
