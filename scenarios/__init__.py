"""Small real models, each trained as a careful user would, for faultlab to break."""
