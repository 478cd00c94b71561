"""How often `faultlab doctor` names the failure mode that was injected into a healthy example."""
