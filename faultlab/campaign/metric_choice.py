"""The choice of the metric that harm is measured by, and of its better direction if that is known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from faultlab.core import directions
from faultlab.core.directions import HIGHER, LOWER, Declared
from faultlab.core.trajectory import Trajectory

_LOWER_WORDS = frozenset((
    "loss", "losses", "nll", "bce", "err", "error", "errors", "mse", "mae", "rmse", "rmsle", "msle", "mape",
    "smape", "wer", "cer", "eer", "fid", "kid", "lpips", "bpd", "bpc", "perplexity", "ppl", "brier", "ece",
    "crossentropy", "hausdorff", "regret", "residual", "cost", "penalty", "divergence", "kl", "kld", "fpr", "fnr", "epe"
))  # fmt: skip
_HIGHER_WORDS = frozenset((
    "acc", "auc", "auroc", "auprc", "roc", "ap", "map", "f1", "fbeta", "precision", "recall", "r2", "iou",
    "miou", "jaccard", "bleu", "rouge", "meteor", "cider", "psnr", "ssim", "snr", "sdr", "pesq", "stoi",
    "score", "reward", "rewards", "return", "returns", "ndcg", "dcg", "hit", "hits", "hitrate", "hr", "mrr",
    "mcc", "kappa", "dice", "corr", "pearson", "spearman", "kendall", "elbo", "likelihood", "sensitivity",
    "tpr", "specificity", "success", "win", "winrate", "explainedvariance"
))  # fmt: skip
_STEMS = ("accura", "correl", "matthew", "hit@", "loglik")
_NEGATED = ("neg", "negative", "minus", "inverse", "inv")
_LOSSES = ("loss", "losses", "nll", "bce")
_VALIDATION = ("val", "valid", "validation", "dev", "eval")
# Suffixes that Lightning adds to a name.
_ADDED = ("step", "epoch", "dataloader", "idx")
_LEAST_MOVE = 0.05
DECIDED = frozenset((
    "acc", "accuracy", "f1", "fbeta", "precision", "recall", "auc", "auroc", "iou", "miou", "jaccard", "dice",
    "mcc", "kappa", "map", "ndcg", "mrr", "mse", "mae", "rmse", "mape", "r2", "wer", "cer", "bleu", "rouge"
))  # fmt: skip
"""Words of metrics that compare predictions with labels, for predictions of any range."""


UNREPORTED = "it is the faulted training's own loss, since the training reports no metric"
"""Why the direction of a loss that a fault may falsify is unknown."""


class Measure(NamedTuple):
    """The metric, whether lower is better (None if that is unknown), and the evidence for it."""

    metric: str
    lower_is_better: bool | None
    why: str = ""

    @property
    def mode(self) -> str:
        """The mode of a callback that monitors the metric; ``min``, the usual default, if the direction is unknown."""
        return HIGHER if self.lower_is_better is False else LOWER

    @property
    def better(self) -> str:
        """The better values in one word."""
        return {None: "unknown", True: "lower", False: "higher"}[self.lower_is_better]


class Monitored(Protocol):
    """A scenario's ``monitor:``."""

    @property
    def metric(self) -> str: ...

    @property
    def mode(self) -> str: ...


def choose_metric(
    trajectory: Trajectory,
    monitor: Monitored | None,
    declared: Declared | None = None,
    others: Sequence[Trajectory] = (),
) -> Measure:
    """Return the scenario's metric; else the plainest validation loss, a monitored metric, or any other.

    ``declared`` has the directions that the target's objects declare. ``others`` are further clean runs, which show in
    which direction training moves the metric.
    """
    if monitor is not None:
        return Measure(monitor.metric, monitor.mode == LOWER, "declared in the scenario")
    declared = declared or {}
    names = list(trajectory.final or trajectory.metrics)
    if not names:
        return Measure("loss", True, "it is a loss")
    name = min(names, key=lambda name: (*_rank(name, declared), names.index(name)))
    said = {**declared.get(_bare(name), {}), **declared.get(name, {})}
    return Measure(name, *direction(name, said, [trajectory, *others]))


def undirected(measure: Measure) -> list[dict[str, str]]:
    """Return a finding if the better direction of the metric is unknown."""
    if measure.lower_is_better is not None:
        return []
    harm = "only a value far from the clean one, in either direction, is harm"
    what = f"harm is measured by {measure.metric}, and {measure.why}: {harm}"
    remedy = f"Declare it in the scenario: monitor: {{metric: {measure.metric}, mode: min}} or mode: max."
    if measure.why == UNREPORTED:
        remedy = "Name a function that returns the metrics of the trained module under `evaluate`, or return them."
    return [{"kind": "direction", "what": what, "evidence": "", "remedy": remedy}]


def unevaluated(measure: Measure, why: str) -> list[dict[str, str]]:
    """Return the finding that the clean run's weights can't be evaluated on their own, for the given reason."""
    if not why:
        return []
    what = f"the clean run's weights can't be evaluated by themselves: {why}"
    consequence = f"harm is measured by the logged {measure.metric}, which a fault may falsify"
    remedy = "Have Trainer.validate work after a training, with a Trainer of its own."
    return [{"kind": "unevaluated", "what": f"{what}; {consequence}", "evidence": "", "remedy": remedy}]


def reported(measure: Measure, trajectory: Trajectory, by_hand: bool) -> list[dict[str, str]]:
    """Return the findings that harm is measured by a report of the training, which may be the best value so far."""
    metric = measure.metric
    if metric in trajectory.final or metric not in trajectory.metrics:
        return []
    found = []
    if by_hand:
        what = f"the final weights are not evaluated separately: harm is measured by the {metric} that the training"
        remedy = "Name a function under `evaluate` that takes the trained module and returns its metrics."
        found.append({"kind": "reported", "what": f"{what} reports, which a fault may falsify", "remedy": remedy})
    values = [value for _, value in trajectory.metrics[metric]]
    if directions.is_best(metric, values, "" if measure.lower_is_better is None else measure.mode):
        what = f"{metric} seems to be the best value so far, so harm that is done after it does not show"
        remedy = "Report the current value as well, and name it under `monitor`."
        found.append({"kind": "best-so-far", "what": what, "remedy": remedy})
    return [{**one, "evidence": ""} for one in found]


def direction(name: str, said: Mapping[str, str], runs: Sequence[Trajectory]) -> tuple[bool | None, str]:
    """Return whether lower is better and the evidence; None without evidence, or if it is contradictory."""
    votes = {f"{who} says {mode}": mode == LOWER for who, mode in said.items()}
    by_name = lower_by_name(name)
    if by_name is not None:
        votes["by its name"] = by_name
    moved = _moved(name, runs)
    # A loss may rise in a clean training that overfits, and declarations outweigh the course of another metric.
    settled = bool(said) or bool(set(_LOSSES) & _words(name))
    if moved is not None and not settled:
        votes["clean training moves it that way"] = moved
    if not votes:
        return None, "its better direction is unknown"
    if len(set(votes.values())) > 1:
        told = "; ".join(f"{'lower' if lower else 'higher'}: {who}" for who, lower in votes.items())
        return None, f"its better direction is contradictory ({told})"
    return next(iter(votes.values())), ", ".join(votes)


def lower_by_name(name: str) -> bool | None:
    """Return whether lower is better by the words of the metric's name; None if they do not decide it."""
    words = _words(name)
    if words & _LOWER_WORDS:
        return True
    if words & _HIGHER_WORDS or any(word.startswith(_STEMS) for word in words):
        return bool(words & set(_NEGATED))
    return None


def decided(names: Sequence[str]) -> Iterator[str]:
    """Return the metrics that compare predictions with labels, for predictions of any range."""
    for name in names:
        if _words(name) & DECIDED:
            yield name


def _rank(name: str, declared: Declared) -> tuple[bool, bool, bool, int]:
    """Return a sort key: plain validation losses first, and within each kind monitored metrics first."""
    words = [word for word in _pieces(name) if word not in _ADDED and not word.isdigit()]
    loss, validation = bool(set(_LOSSES) & set(words)), bool(set(_VALIDATION) & set(words))
    plain = loss and validation and len(words) == 2
    return not plain, not loss, not validation, len(words) - 100 * (name in declared or _bare(name) in declared)


def _bare(name: str) -> str:
    """Return the name as the user gave it, without Lightning's suffix."""
    return re.sub(r"(_epoch|_step)?(/dataloader_idx_\d+)?$", "", name)


def _pieces(name: str) -> list[str]:
    return [piece.lower() for piece in re.split(r"[^A-Za-z0-9@]+", name) if piece]


def _words(name: str) -> set[str]:
    """Return the words of a name: its pieces, parts of CamelCase, joined neighbors, each with and without numbers."""
    pieces = _pieces(name)
    camel = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    joined = [one + other for one, other in pairwise(pieces)]
    found = {*pieces, *camel, *joined}
    return found | {re.sub(r"@?\d+$", "", word) for word in found}


def _moved(name: str, runs: Sequence[Trajectory]) -> bool | None:
    """Return whether clean training lowers the metric; None unless it moves it far and every run in one direction."""
    ways = set()
    for run in runs:
        series = [value for _, value in run.metrics.get(name, [])]
        if len(series) < 2 or not all(map(math.isfinite, series)):
            continue
        first, last = series[0], series[-1]
        far = abs(last - first) > _LEAST_MOVE * max(abs(first), abs(last))
        ways.add(last < first if far else None)
    return ways.pop() if len(ways) == 1 else None
