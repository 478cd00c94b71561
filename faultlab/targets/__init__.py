"""The targets that scenario files can name: training scripts and synthetic data.

It imports Lightning only through `faultlab.frameworks`, and nothing of worker, engines or the layers above them.
"""
