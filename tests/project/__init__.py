"""What holds for the repository as a whole: documentation, CI, benchmarks, architecture."""
