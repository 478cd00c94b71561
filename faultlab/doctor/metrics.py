"""What metric objects are given and keep, held against what their values are taken for."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.doctor.finding import Checks, Finding, Seen, attention, wrong

METRICS = Checks()


@METRICS.check("metrics begin anew", "Lightning-AI/torchmetrics#269", "Lightning-AI/torchmetrics#1450")
def carried(seen: Seen) -> Iterator[Finding]:
    """A value of one validation that is worked out with what was gathered before it."""
    for name, (kind, earlier, trained) in (seen.get("metrics") or {}).get("carried", {}).items():
        if trained:
            yield wrong(
                f"the metric {name} ({kind}) is updated in training and validation both: its value of validation is "
                f"worked out with {trained} batches of training",
                f"self.{name}",
                "Give each stage a metric object of its own, such as train_metric and val_metric.",
            )
        else:
            yield wrong(
                f"the metric {name} ({kind}) is never reset: its value of an epoch is worked out with {earlier} "
                "batches of earlier validations",
                f"self.{name}",
                f"Call self.{name}.reset() after compute(), or give self.log the object itself: "
                f'self.log("name", self.{name}), which resets it.',
            )


@METRICS.check("metrics are of all samples", "Lightning-AI/torchmetrics#845")
def averaged(seen: Seen) -> Iterator[Finding]:
    """A score that is worked out by the batch and averaged, and is another one over all samples."""
    for key, (kind, name, logged, whole) in (seen.get("metrics") or {}).get("averaged", {}).items():
        yield attention(
            f"{name} is the mean of the batches' values of {key} ({kind}), {logged:.4g}: over all samples it is "
            f"{whole:.4g}",
            f'self.log("{name}", self.{key}(...))',
            f'Log the object: call self.{key}.update(predictions, y), and then self.log("{name}", self.{key}), which '
            "works it out at the end of the epoch.",
        )


@METRICS.check("curves get scores", "pyg-team/pytorch_geometric#2248")
def decisions(seen: Seen) -> Iterator[Finding]:
    """A metric over all thresholds that is given what one threshold has left."""
    for name, kind in (seen.get("metrics") or {}).get("decisions", {}).items():
        yield attention(
            f"{kind} ({name}) is given decisions, 0 and 1 alone: of its curve one point is left, and the value is "
            f"not that of the scores",
            f"self.{name}",
            "Give it the scores: probabilities (softmax or sigmoid) or logits, before argmax, round or a threshold.",
        )
