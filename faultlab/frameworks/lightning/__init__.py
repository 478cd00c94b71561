"""PyTorch Lightning, under both of its package names.

Besides the guards, no other package imports Lightning; this one imports no framework but what all share, torch.
"""

NAME = "lightning"
