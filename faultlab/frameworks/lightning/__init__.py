"""PyTorch Lightning, under both of its package names.

Apart from the guards, only this package imports Lightning; it imports no other framework, except torch.
"""

NAME = "lightning"
