"""Reports in words, as pages and in the formats of other tools; what they mean is settled before."""
