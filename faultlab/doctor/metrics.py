"""Metric objects that get the wrong inputs, or keep too many of them."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

METRICS = Checks()


@METRICS.check("metric state", "Lightning-AI/torchmetrics#269", "Lightning-AI/torchmetrics#1450")
def carried(seen: Seen) -> Iterator[Finding]:
    """Find a validation value that includes earlier batches."""
    for name, (kind, earlier, trained) in (seen.get("metrics") or {}).get("carried", {}).items():
        if trained:
            yield wrong(
                f"the metric {name} ({kind}) is updated in both training and validation: its validation value "
                f"includes {trained} training batches",
                f"self.{name}",
                "Use a separate metric object for each stage, such as train_metric and val_metric.",
            )
        else:
            yield wrong(
                f"the metric {name} ({kind}) is never reset: its value of an epoch includes {earlier} batches of "
                "earlier validations",
                f"self.{name}",
                f'Call self.{name}.reset() after compute(), or pass the object itself to self.log: self.log("name", '
                f"self.{name}), which resets it.",
            )


@METRICS.check("metric averages", "Lightning-AI/torchmetrics#845")
def averaged(seen: Seen) -> Iterator[Finding]:
    """Find a score that is averaged over batches and has a different value over all samples."""
    for key, (kind, name, logged, whole) in (seen.get("metrics") or {}).get("averaged", {}).items():
        yield attention(
            f"{name} is the mean of the batches' values of {key} ({kind}), {logged:.4g}: over all samples it is "
            f"{whole:.4g}",
            f'self.log("{name}", self.{key}(...))',
            f'Log the object: call self.{key}.update(predictions, y), then self.log("{name}", self.{key}), which '
            "computes it at the end of the epoch.",
        )


@METRICS.check("curve metrics", "pyg-team/pytorch_geometric#2248")
def decisions(seen: Seen) -> Iterator[Finding]:
    """Find a metric over all thresholds that gets decisions."""
    for name, kind in (seen.get("metrics") or {}).get("decisions", {}).items():
        yield attention(
            f"{kind} ({name}) gets decisions, only 0 and 1: its curve has a single point, and its value is not that "
            "of the scores",
            f"self.{name}",
            "Pass it the scores: probabilities (softmax or sigmoid) or logits, before argmax, round or a threshold.",
        )
