"""What scenario files name as their targets: training scripts and made-up data.

It imports Lightning through `faultlab.frameworks` alone, and nothing of worker, engines or the layers above them.
"""
