"""What scenario files name as their targets: training scripts and made-up data."""
