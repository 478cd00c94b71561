"""The Trainer of Hugging Face transformers, which runs the loop of a scenario with `framework: torch`.

It adds names to what `faultlab.frameworks.loops` follows, and imports that package and `faultlab.frameworks.torch`
alone.
"""
