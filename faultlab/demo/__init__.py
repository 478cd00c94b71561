"""What `faultlab demo` breaks: a small model that learns something, and a scenario of a few ways in which that fails."""
