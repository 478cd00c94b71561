"""PyTorch Lightning, under both of its package names."""

FRAMEWORK = "lightning"
