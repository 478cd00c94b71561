"""Fits a classifier of pytorch-tabnet: the package has the loop, the loaders and the optimizer."""

import numpy as np
from pytorch_tabnet.tab_model import TabNetClassifier
from sklearn.datasets import make_classification

X, y = make_classification(700, 8, n_informative=6, n_classes=3, random_state=0)
X = X.astype(np.float32)
model = TabNetClassifier(n_d=4, n_a=4, n_steps=2, seed=0, verbose=1, device_name="cpu")
model.fit(
    X[:512],
    y[:512],
    eval_set=[(X[512:], y[512:])],
    eval_name=["valid"],
    eval_metric=["accuracy"],
    max_epochs=3,
    batch_size=64,
    virtual_batch_size=32,
)
accuracy = float((model.predict(X[512:]) == y[512:]).mean())
print(f"accuracy: {accuracy:.4f}")
