"""A fault in a running process, whatever the framework: seams, armed faults, clock and activation counts."""
