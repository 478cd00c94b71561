"""Fits a CTGAN to a table: the package has the loop and both optimizers, and samples its batches without a loader."""

import numpy as np
import pandas as pd
from ctgan import CTGAN

rng = np.random.default_rng(0)
kind = rng.choice(["a", "b", "c"], 400)
table = pd.DataFrame({"kind": kind, "size": rng.normal(0, 1, 400) + (kind == "b"), "price": rng.gamma(2, 1, 400)})
small = {"generator_dim": (32, 32), "discriminator_dim": (32, 32), "embedding_dim": 16}
model = CTGAN(epochs=3, batch_size=50, pac=5, verbose=True, enable_gpu=False, **small)
model.set_random_state(0)
model.fit(table, ["kind"])
error = abs(float(model.sample(200)["size"].mean()) - float(table["size"].mean()))
print(f"error: {error:.4f}")
