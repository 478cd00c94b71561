"""The better side of a metric, as far as its name shows it."""

from __future__ import annotations

import re

_LOWER = {
    "loss", "error", "err", "mae", "mse", "rmse", "mape", "smape", "mase", "crps", "brier", "ece", "nll", "bce", "ce",
    "perplexity", "ppl", "wer", "cer", "fid", "lpips", "eer", "distance", "gap", "divergence", "kl", "regret",
}  # fmt: skip
_HIGHER = {
    "acc", "accuracy", "auc", "auroc", "auprc", "f1", "precision", "recall", "iou", "miou", "jaccard", "dice", "map",
    "ap", "bleu", "rouge", "meteor", "cider", "r2", "psnr", "ssim", "kappa", "mcc", "reward", "rewards", "return",
    "returns", "ndcg", "mrr", "hit", "hits", "likelihood", "corr", "correlation", "spearman", "pearson", "success",
    "sensitivity", "specificity",
}  # fmt: skip
_INVERTING = {"neg", "negative", "minus", "inverse"}


def better_side(name: str) -> str:
    """Return "min" or "max", empty if the name has words for neither or both, or is negated."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    lower, higher = bool(words & _LOWER), bool(words & _HIGHER)
    return "" if lower == higher or words & _INVERTING else ("min" if lower else "max")
