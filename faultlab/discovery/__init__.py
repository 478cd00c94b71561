"""Looks at a user's project and finds out how its LightningModule can be trained: what `faultlab init` writes down."""
