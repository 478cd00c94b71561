"""Is a class, and no LightningModule."""


class Model:
    pass
