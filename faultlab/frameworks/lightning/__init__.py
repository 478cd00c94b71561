"""PyTorch Lightning, under both of its package names."""

NAME = "lightning"
