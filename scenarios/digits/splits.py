"""The 8x8 handwritten digits that scikit-learn bundles, split for training, validation and test."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Split = tuple[Tensor, Tensor]


@lru_cache(maxsize=4)
def load_splits(split_seed: int) -> dict[str, Split]:
    """Return the stratified splits (70/15/15) as images in [0, 1], `float32[n, 1, 8, 8]`, and labels, `int64[n]`.

    Cached: unpacking the bundled file takes about as long as one whole fit.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.tensor(digits, dtype=torch.int64)

    train, held_out = train_test_split(range(len(digits)), test_size=0.3, stratify=digits, random_state=split_seed)
    validation, test = train_test_split(held_out, test_size=0.5, stratify=digits[held_out], random_state=split_seed)
    rows = {"train": train, "validation": validation, "test": test}
    return {name: (images[chosen], labels[chosen]) for name, chosen in rows.items()}


# Read when the module is imported: processes that are forked off later find the default splits in the cache.
load_splits(0)
