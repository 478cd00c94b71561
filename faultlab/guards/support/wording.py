"""The wording of alarms: where a batch was, and remedies in the terms of the loop that trains."""

from __future__ import annotations

import re

from faultlab.guards.support.training_view import TrainingView

_BATCH = re.compile(r"\bbatch \d+\b(?! of)")
IN_LOOPS = {
    " before manual_backward": " before backward()",
    "; in Lightning in configure_gradient_clipping, or by the Trainer's gradient_clip_val": "",
    "; Lightning does for samplers that it sees": "",
    "Return the loss from training_step on every path, not None, or call manual_backward.": (
        "Call backward() on the loss of every batch."
    ),
    "Return the loss itself from training_step": "Call backward() on the loss itself",
    "optimizer_step (or training_step, under manual optimization) calls optimizer.step()": (
        "the loop calls optimizer.step()"
    ),
    ", and check that optimizer_zero_grad does it at each step": "",
    "Call train() on the module before fit, since Lightning does not change the mode.": (
        "Call model.train() before the loop."
    ),
    "in validation_step or in code that it calls": "in the validation",
    "leaves validation_step": "leaves the validation",
    "within training_step": "within a training step",
    "self.parameters()": "model.parameters()",
    "Return one from configure_optimizers": "Create one",
    "Resume with ckpt_path, which restores it": "Load its state_dict when you resume",
    "leave the precision to the Trainer": "leave the precision to torch.autocast",
    "; Lightning steps the schedulers that configure_optimizers returns": "",
    "fit ended": "the training ended",
    "fit will return": "it will end",
    "the name in self.log": "the name of the metric",
}
"""What texts say to users of a Trainer, and what they say in a plain loop."""


def spoken(text: str, view: TrainingView | None) -> str:
    """Return the text of an alarm, for the training of this view."""
    if view is None:
        return text
    if getattr(view, "is_plain_loop", False):
        for ours, theirs in IN_LOOPS.items():
            text = text.replace(ours, theirs)
    epoch = getattr(view, "current_epoch", 0)
    if not epoch or "epoch" in text:
        return text
    return _BATCH.sub(lambda found: f"{found[0]} of epoch {epoch} (step {view.global_step})", text, count=1)
