"""The detectors on the failure modes of the catalogue: each one as a callback of the digits classifier's training."""
