"""The digits classifier's own tests."""
