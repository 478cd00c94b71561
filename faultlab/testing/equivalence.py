"""Assertions that one step computes the same in two ways: accumulated, compiled, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from faultlab.errors import FaultlabError, UsageError
from faultlab.guards.support import draws
from faultlab.guards.support.hand_loop import HandLoop
from faultlab.guards.support.stepping import Stepping
from faultlab.guards.support.trials import Trial
from faultlab.injection import samples, tree

Loss = Callable[[Any, Any], Any]
_SHOWN = 4


class NotEquivalentError(FaultlabError, AssertionError):
    """Two ways to compute the same thing give different results."""


class Computed(NamedTuple):
    """The loss of a batch and the gradient of each trainable parameter, None for one without a gradient."""

    loss: float
    gradients: dict[str, Tensor | None]


def assert_accumulation_equivalent(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    parts: int = 2,
    accumulate: Callable[[Any, list[Any]], None] | None = None,
    training: bool = False,
    tolerance: float = 1e-4,
) -> None:
    """Assert that accumulating the gradients of a batch's parts gives the gradients of the whole batch.

    A loss that is a mean over tokens, or over samples with a label, fails if the parts have different numbers of them.

    Args:
        model: A `torch.nn.Module`, such as a LightningModule. It is copied.
        batch: A batch of at least ``parts`` samples along the first dimension; samples that make the parts unequal are
            left out.
        loss: A function of the model and a batch that returns the loss. None for the output of ``training_step``.
        parts: The number of parts.
        accumulate: A function of the model and the parts that calls backward as the training does. None to divide the
            loss of each part by their number, as Lightning does.
        training: Whether the model is in training mode, in which batch normalization alone makes a difference, and
            dropout draws other numbers for the parts.
        tolerance: The allowed difference, as a share of the largest value of a gradient.

    Raises:
        NotEquivalentError: The gradients differ. The message names the parameters.
        UsageError: The batch can't be split.
    """
    number = _samples(batch)
    size = number // parts
    if not size or parts < 2:
        raise UsageError(f"a batch of {number} samples can't be split into {parts} parts")
    whole = _rows(batch, 0, size * parts)
    pieces = [_rows(batch, start * size, (start + 1) * size) for start in range(parts)]

    def divided(tried: Any, pieces: list[Any]) -> None:
        step = loss or _of_step
        for piece in pieces:
            (_scalar(step(tried, piece)) / len(pieces)).backward()  # type: ignore[no-untyped-call]

    one = _compute(model, whole, loss, training)
    other = _compute(model, whole, loss, training, lambda tried: (accumulate or divided)(tried, pieces))
    _same_gradients(
        one,
        other,
        tolerance,
        f"the gradients of {parts} accumulated parts are not those of the whole batch",
        _about_parts(model, training)
        or "The loss of each part has to be weighted by what its mean is taken over, such "
        "as tokens or samples with a label.",
    )


def assert_compiled_equivalent(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    training: bool = False,
    tolerance: float = 1e-3,
    **options: Any,
) -> None:
    """Assert that the compiled model computes the loss and the gradients of the eager one.

    The modules that the step calls are compiled, in a copy of the model.

    Args:
        model: A `torch.nn.Module`, such as a LightningModule, that is not compiled itself. It is copied.
        batch: A batch as the training loader yields it.
        loss: A function of the model and a batch that returns the loss. None for the output of ``training_step``.
        training: Whether the model is in training mode. A compiled dropout draws other random numbers.
        tolerance: The allowed difference, as a share of the largest value of a gradient.
        options: The arguments of `torch.nn.Module.compile`, such as ``backend`` and ``mode``.

    Raises:
        NotEquivalentError: Loss or gradients differ. The message names the parameters.
        UsageError: Nothing is compiled, because the step calls no module, or the compiler can't compile any.
    """
    one = _compute(model, batch, loss, training)
    other = _compute(model, batch, loss, training, compiled=options)
    versions = f"torch {torch.__version__}"
    _same_loss(one, other, tolerance, "the loss of the compiled model is not that of the eager one", versions)
    _same_gradients(
        one,
        other,
        tolerance,
        "the compiled model has the loss of the eager one, but not its gradients",
        f"Report it with {versions}, and train eagerly, or with backend='aot_eager', until it is fixed.",
    )


def assert_double_precision_equivalent(
    model: nn.Module, batch: Any, loss: Loss | None = None, *, training: bool = False, tolerance: float = 1e-2
) -> None:
    """Assert that the model computes about the same loss and gradients in double precision.

    A difference shows that rounding decides: a subtraction of almost equal numbers, a variance of large values, an
    exponential that overflows.

    Args:
        model: A `torch.nn.Module`, such as a LightningModule. It is copied.
        batch: A batch as the training loader yields it; its floating-point tensors are converted.
        loss: A function of the model and a batch that returns the loss. None for the output of ``training_step``.
        training: Whether the model is in training mode. Dropout draws other numbers in double precision.
        tolerance: The allowed difference, as a share of the largest value of a gradient.

    Raises:
        NotEquivalentError: Loss or gradients differ. The message names the parameters.
    """
    one = _compute(model, batch, loss, training)
    exact = tree.map_tensors(batch, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    other = _compute(model, exact, loss, training, double=True)
    remedy = "Rewrite what rounding decides: use log_softmax, logsumexp or log1p, and subtract means before squaring."
    _same_loss(one, other, tolerance, "in double precision the loss is another one", remedy)
    _same_gradients(one, other, tolerance, "in double precision the gradients are others", remedy)


def _of_step(model: Any, batch: Any) -> Any:
    return model.training_step(batch, 0)


def _compute(
    model: nn.Module,
    batch: Any,
    loss: Loss | None,
    training: bool,
    backward: Callable[[Any], None] | None = None,
    *,
    compiled: Mapping[str, Any] | None = None,
    double: bool = False,
) -> Computed:
    """Return the loss and the gradients of a copy of the model; ``backward`` computes the gradients in another way."""
    if loss is None and not callable(getattr(model, "training_step", None)):
        raise UsageError(f"{type(model).__name__} has no training_step: pass a function of model and batch as `loss`")
    trial = Trial(model if loss is None else Stepping(model, loss), HandLoop([], None, None, 1, 1))
    own = trial.module if loss is None else trial.module.model
    own.train(training)
    own.zero_grad(set_to_none=True)
    if double:
        own.double()
    with draws.undrawn(), torch.inference_mode(False), torch.enable_grad():
        draws.reseed(0)
        graphs = 0
        if compiled is not None:
            _compile(trial, own, batch, compiled)
            graphs = _graphs()
            draws.reseed(0)
        value = _scalar(trial.step(batch, 0))
        if compiled is not None and _graphs() == graphs:
            raise UsageError("no graph was compiled: the step or its modules are kept from the compiler")
        if backward is None:
            value.backward()  # type: ignore[no-untyped-call]
        else:
            draws.reseed(0)
            backward(own)
    gradients = {name: p.grad for name, p in own.named_parameters() if p.requires_grad}
    return Computed(float(value.detach()), gradients)


def _compile(trial: Trial, own: nn.Module, batch: Any, options: Mapping[str, Any]) -> None:
    """Compile the outermost modules that a step calls."""
    called: list[nn.Module] = []
    inside: list[nn.Module] = []

    def enter(part: nn.Module, args: Any) -> None:
        if not inside and part not in called:
            called.append(part)
        inside.append(part)

    def leave(part: nn.Module, args: Any, output: Any) -> None:
        inside.pop()

    hooks = [hook for part in own.modules() for hook in (part.register_forward_pre_hook(enter),
                                                         part.register_forward_hook(leave))]  # fmt: skip
    kept = [(buffer, buffer.detach().clone()) for buffer in own.buffers()]
    try:
        trial.step(batch, 0)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for buffer, before in kept:
            buffer.copy_(before)
    if not called:
        raise UsageError("the step calls no module, so that nothing would be compiled")
    for part in called:
        # `Module.compile` leaves the calls of torch's own modules as they are.
        part._compiled_call_impl = torch.compile(_calling(part), **options)


def _calling(part: nn.Module) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return part._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    return call


def _graphs() -> int:
    """Return how many graphs this process has compiled."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _scalar(output: Any) -> Tensor:
    value = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UsageError(
            f"the step returns {type(value).__name__} in place of a loss: expected a tensor of one element"
        )
    return value


def _same_loss(one: Computed, other: Computed, tolerance: float, what: str, remedy: str) -> None:
    __tracebackhide__ = True
    if not abs(one.loss - other.loss) <= tolerance * max(abs(one.loss), abs(other.loss), 1e-6):
        raise NotEquivalentError(f"{what}: {one.loss:.6g} and {other.loss:.6g}. {remedy}")


def _same_gradients(one: Computed, other: Computed, tolerance: float, what: str, remedy: str) -> None:
    __tracebackhide__ = True
    largest = max((_size(gradient) for gradient in one.gradients.values()), default=0.0)
    found = []
    for name, gradient in one.gradients.items():
        twin = other.gradients[name]
        if gradient is None or twin is None:
            if gradient is not twin:
                found.append((math.inf, f"{name} has a gradient in one of them only"))
            continue
        # A gradient that is nothing but rounding is compared with the others.
        scale = max(_size(gradient), _size(twin), 1e-3 * largest, 1e-12)
        share = _size(gradient.double() - twin.double()) / scale
        if not share <= tolerance:
            found.append((share, f"{name} by {share:.2g} of its largest value"))
    if found:
        found.sort(key=lambda difference: -difference[0])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        listed = ", ".join(text for _, text in found[:_SHOWN]) + more
        raise NotEquivalentError(f"{what}: {len(found)} of {len(one.gradients)} differ: {listed}. {remedy}")


def _size(tensor: Tensor | None) -> float:
    return float(tensor.detach().abs().max()) if tensor is not None and tensor.numel() else 0.0


def _samples(batch: Any) -> int:
    sizes = {len(tensor) for _, tensor in tree.tensors(batch) if tensor.dim()}
    if len(sizes) != 1:
        raise UsageError("the batch can't be split: its tensors have no common first dimension")
    return sizes.pop()


def _rows(batch: Any, start: int, end: int) -> Any:
    along = {path: 0 for path, tensor in tree.tensors(batch) if tensor.dim()}
    return samples.take(batch, torch.arange(start, end), along)


def _about_parts(model: nn.Module, training: bool) -> str:
    by_batch = [name for name, part in model.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if training and by_batch:
        return f"{', '.join(by_batch[:_SHOWN])} normalize each part by its own statistics: leave `training` out."
    return ""
