"""loss: failure modes of the parts that a loss consists of: its terms, and the weights of its classes."""

from __future__ import annotations

import torch

from faultlab.catalogue.injection_points import ClassWeights, Loss
from faultlab.injection import loss_terms
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "loss.term-detached",
    seam=Loss,
    severity="major",
    effect="silent",
    cause=("detach", "no_grad", "without gradient", "no effect", "no grad", "term"),
    needs=("several-terms",),
    evidence=("coqui-ai/TTS#2348", "coqui-ai/TTS#2364"),
)
def detach_term(loss: torch.Tensor, ctx: Context) -> torch.Tensor:
    """One term of the loss, the last one of the sum, has no gradient.

    Effect: the loss has its usual value, and training ignores the term: what only this term teaches is not learned. No
    error or warning is raised, because the other terms have gradients.
    Why it goes undetected: the term is part of the loss and is logged, and it may even fall along with the others.
    Example:
        @torch.no_grad()                        # meant for the recorded speech; the generated one goes through, too
        def spectrogram(self, wave): ...
        loss = reconstruction + 0.1 * self.distance(self.spectrogram(made), self.spectrogram(real))
    Remedy: assert for each term that it requires grad, and test that its gradient reaches the model.
    """
    found = loss_terms.terms(loss)
    if not found:
        return loss
    found[-1].detach()
    # Another place in the graph with the same value, as a sum with a detached term has.
    return loss.view_as(loss)


@failure_mode(
    "loss.class-weights-permuted",
    seam=ClassWeights,
    severity="major",
    effect="silent",
    cause=("weights of classes", "class weight", "imbalanc", "frequenc", "order of", "expected loss", "loss differs"),
    stages="every",
    evidence=("Chumsy0725/logit-adj-pytorch#2",),
)
def permute_weights(weights: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The weights of the classes are in another order than the classes: each class has that of the previous one.

    Effect: frequent classes are weighted like rare ones and rare ones like frequent ones, so what the weights should
    balance becomes worse. No error or warning is raised.
    Why it goes undetected: the weights have the right shape, the right values and the right mean, and the loss falls.
    Example:
        counts = Counter(str(label) for label in labels)        # keys from a JSON file
        weights = [1 / counts[name] for name in sorted(counts)]         # "10" comes before "2"
    Remedy: test that the largest weight belongs to the class with the fewest samples.
    """
    return weights.roll(1)
