"""The share of injected failure modes that `faultlab doctor` names on healthy examples."""
