"""Small models that differ in what a seam has to cope with."""
