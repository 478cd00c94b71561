"""The detectors that look before a training, as tests of the digits classifier."""
