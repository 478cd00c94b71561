"""A guard of the user's, which sees in a training what the tests miss."""

import pytorch_lightning as pl


class StartsAtOne(pl.Callback):
    """The line goes through one at nothing."""

    def on_train_batch_start(self, trainer, module, batch, index):
        x, y = batch
        if (y[x == 0] != 1).any():
            raise ValueError("the line does not start at one")
