"""Is the environment fit for training, and does the training step of a module run? One check a small function."""
