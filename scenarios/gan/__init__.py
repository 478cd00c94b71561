"""Generated digits: two networks and two optimizers under manual optimization."""
