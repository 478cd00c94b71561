"""optimizer: what `configure_optimizers` gives, and what becomes of its steps."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Optimizers
from faultlab.frameworks.torch.optimizers import groups_in, hand_over, optimizers_in, schedules_in
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


def _drop(groups: list[dict[str, Any]], dropped: set[int]) -> None:
    for group in groups:
        # In place: L-BFGS keeps a reference to the list.
        group["params"][:] = [parameter for parameter in group["params"] if id(parameter) not in dropped]


def _last_layer(groups: list[dict[str, Any]], ctx: Context) -> tuple[str, dict[str, Any]]:
    """The name of the last layer that the groups hold something of, and its parameters by name."""
    held = {id(parameter) for group in groups for parameter in group["params"]}
    last = [name for name, parameter in ctx.module.named_parameters() if id(parameter) in held][-1].rpartition(".")[0]
    return last, dict(ctx.module.get_submodule(last).named_parameters(recurse=False))


@failure_mode(
    "optimizer.none",
    seam=Optimizers,
    severity="critical",
    effect="warns",
    cause=("optimizer", "did not change", "no parameter"),
    evidence=("Lightning-AI/pytorch-lightning#1279", "Lightning-AI/pytorch-lightning#11178"),
)
def forget_optimizer(result: Any, ctx: Context) -> Any:
    """`configure_optimizers` forgets its `return`.

    Effect: Lightning warns that the fit will run with no optimizer, and trains with a mock that does nothing: backward
    runs, gradients pile up, `global_step` counts, no parameter moves. Under manual optimisation `self.optimizers()`
    gives that one mock, and a module that expects two raises on unpacking it.
    Why it goes undetected: it is one line among the warnings of start-up, and the loss still varies from batch to
    batch.
    Example:
        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters())     # and no `return optimizer`
    Remedy: assert that parameters changed after the first step, or turn the warning into an error.
    """
    return None


@failure_mode(
    "optimizer.empty",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("optimizer", "empty", "did not change", "no parameter"),
    evidence=("ohhhyeahhh/SiamCAR#18",),
)
def empty_optimizer(result: Any, ctx: Context) -> Any:
    """The optimizer has a parameter group, and nothing in it.

    Effect: every step steps nothing, without a word. torch refuses an empty list of parameters
    (`optimizer.empty-list`), but not a group whose list is empty. With gradient clipping, torch warns that no gradient
    clipping will occur; L-BFGS alone raises, an IndexError at the first step.
    Why it goes undetected: the optimizer is there, with its learning rate and schedule, and `global_step` counts.
    Example:
        frozen = [p for p in self.backbone.parameters() if p.requires_grad]     # none of them does
        return torch.optim.Adam([{"params": frozen, "lr": 1e-4}])
    Remedy: assert that every parameter that requires a gradient is in some group.
    """
    for group in groups_in(result):
        group["params"].clear()
    return result


@failure_mode(
    "optimizer.empty-list",
    seam=Optimizers,
    severity="minor",
    effect="raises",
    cause=("optimizer", "empty", "parameter list", "no parameter"),
    evidence=("Lightning-AI/pytorch-lightning#6554", "Lightning-AI/pytorch-lightning#2282"),
)
def empty_parameter_list(result: Any, ctx: Context) -> Any:
    """The optimizer is given an empty list of parameters.

    Effect: torch raises a ValueError, optimizer got an empty parameter list, while `configure_optimizers` runs. The
    same parameters as a group, `[{"params": []}]`, are accepted in silence (`optimizer.empty`).
    Why it goes undetected: it does not.
    Example:
        self.layers = [nn.Linear(28, 28), nn.Linear(28, 10)]            # a list that registers nothing
        return torch.optim.Adam(self.parameters(), lr=1e-3)
    Remedy: keep layers in `nn.ModuleList` or on the module itself; assert that the module has parameters to train.
    """
    try:
        torch.optim.SGD([], lr=0.1)
    except ValueError as error:
        raise ctx.intended(error) from None
    return result


@failure_mode(
    "optimizer.partial-parameters",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("optimizer", "did not change", "missing", "not trained", "frozen"),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "the share of parameter tensors, the first ones, that are left out"),),
    needs=("several-optimized",),
    evidence=("ACEsuit/mace#1529", "facebookresearch/mmf#620"),
)
def leave_out_parameters(result: Any, ctx: Context) -> Any:
    """The optimizer holds only a part of the parameters: those of the first layers are missing.

    Effect: the layers that are left out stay as initialised, and the others learn around them, without a word.
    Why it goes undetected: the loss falls, only less than it could, and nobody knows how far it could.
    Example:
        def configure_optimizers(self):
            return torch.optim.Adam(self.decoder.parameters())      # and self.encoder?
    Remedy: compare the optimizer's parameters with `self.parameters()` once before training.
    """
    groups = groups_in(result)
    parameters = [parameter for group in groups for parameter in group["params"]]
    _drop(groups, set(map(id, parameters[: max(1, round(len(parameters) * ctx.dose.fraction))])))
    return result


@failure_mode(
    "optimizer.last-layer-missing",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("optimizer", "did not change", "missing", "not trained", "frozen"),
    needs=("several-layers",),
    evidence=("zjunlp/HVPNeT#5", "ACEsuit/mace#525"),
)
def leave_out_last_layer(result: Any, ctx: Context) -> Any:
    """The last layer, the one that was added for this task, is not in the optimizer.

    Effect: the layer stays as initialised, and those before it bend to what it happens to be, without a word.
    Why it goes undetected: the loss falls; random features are nearly as good with a random head on top.
    Example:
        groups = [{"params": self.backbone.parameters()}, {"params": self.neck.parameters()}]   # the head came later
    Remedy: compare the optimizer's parameters with `self.parameters()` once before training.
    """
    groups = groups_in(result)
    _drop(groups, set(map(id, _last_layer(groups, ctx)[1].values())))
    return result


@failure_mode(
    "optimizer.foreign-parameters",
    seam=Optimizers,
    severity="critical",
    effect="silent",
    cause=("optimizer", "did not change", "foreign", "copy", "not trained"),
    evidence=("Lightning-AI/pytorch-lightning#10822", "Trusted-AI/adversarial-robustness-toolbox#1742"),
)
def hold_foreign_parameters(result: Any, ctx: Context) -> Any:
    """The optimizer holds the parameters of another copy of the model.

    Effect: it steps tensors that never get a gradient. The model does not learn, and since `zero_grad` clears the
    copy's gradients, its own add up. Nobody says a word.
    Why it goes undetected: number and shapes of the optimizer's parameters are right.
    Example:
        optimizer = torch.optim.Adam(LitModel().parameters())   # a new model's
        self.model = copy.deepcopy(self.model)                  # or the model copied after the optimizer was made
    Remedy: compare the optimizer's parameters with `self.parameters()` by identity; assert that parameters change.
    """
    for group in groups_in(result):
        group["params"][:] = [torch.nn.Parameter(parameter.detach().clone()) for parameter in group["params"]]
    return result


@failure_mode(
    "optimizer.wrong-type",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("optimizer", "sgd", "adam"),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change optimisation function)",),
)
def change_optimizer(result: Any, ctx: Context) -> Any:
    """Another kind of optimizer is at work: SGD where it was any other, Adam where it was SGD.

    Effect: a learning rate meant for Adam has SGD crawl, one meant for SGD has Adam leap; nobody says a word.
    Why it goes undetected: the model learns, only worse, as with any poor choice of settings.
    Example:
        optimizer_class = getattr(torch.optim, config.get("optimiser", "SGD"))      # the key is spelt otherwise
    Remedy: log the optimizer's class and settings, and compare them with those of the run to be repeated.
    """
    schedules, changed = schedules_in(result), []
    for optimizer in optimizers_in(result):
        kind = torch.optim.Adam if isinstance(optimizer, torch.optim.SGD) else torch.optim.SGD
        kept = ("params", "lr", "initial_lr", "weight_decay")
        groups = [{key: group[key] for key in kept if key in group} for group in optimizer.param_groups]
        changed.append(kind(groups, lr=1e-3))
        hand_over(schedules, optimizer, changed[-1])
    return changed, schedules


@failure_mode(
    "optimizer.epsilon-wrong",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("epsilon", "eps", "update", "too small"),
    doses=(Dose("epsilon", 1.0, 0.0, 1e6, "the epsilon of every optimizer that has one"),),
    needs=("epsilon",),
    evidence=("mlpnlp/mlpnlp-nmt#4", "ibab/tensorflow-wavenet#149"),
)
def mistake_epsilon(result: Any, ctx: Context) -> Any:
    """Adam's epsilon is far from what it should be.

    Effect: next to a large one the second moment vanishes, and Adam becomes a slow SGD with momentum; with one of 0 a
    parameter whose gradient is zero turns NaN. Nobody says a word.
    Why it goes undetected: epsilon is not taken for a setting that matters, and the loss falls a little.
    Example:
        torch.optim.Adam(self.parameters(), lr, (0.9, 0.999), 1e-1)     # weight decay, meant for one place further on
    Remedy: pass settings by name; log them with the run.
    """
    for group in groups_in(result):
        if isinstance(group.get("eps"), float):
            group["eps"] = ctx.dose.epsilon
    return result


@failure_mode(
    "optimizer.weight-decay-huge",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("weight decay", "weight_decay", "weight norm", "shrink"),
    doses=(Dose("decay", 10.0, 0.0, 1e9, "the weight decay of every parameter group"),),
    needs=("weight-decay",),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change weights regularisation)",),
)
def exaggerate_weight_decay(result: Any, ctx: Context) -> Any:
    """Weight decay is far too large.

    Effect: the weights are pulled to zero faster than the loss can push them away; nobody says a word. If learning rate
    times decay is above 2, they diverge instead.
    Why it goes undetected: the loss falls to that of guessing and stays there, as with a model that is too small.
    Example:
        torch.optim.AdamW(self.parameters(), lr=3e-4, weight_decay=1e1)     # 1e-1 was meant
    Remedy: log the norm of the weights; check that one batch can be overfitted.
    """
    for group in groups_in(result):
        if "weight_decay" in group:
            group["weight_decay"] = ctx.dose.decay
    return result


@failure_mode(
    "optimizer.weight-decay-missing",
    seam=Optimizers,
    severity="minor",
    effect="silent",
    cause=("weight decay", "weight_decay", "regulari", "weight norm", "overfit"),
    needs=("decaying-weights",),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: remove weights regularisation)",
        "meta-llama/llama-cookbook#191",
        "sktime/pytorch-forecasting#781",
    ),
)
def forget_weight_decay(result: Any, ctx: Context) -> Any:
    """Weight decay is 0 in every parameter group, whatever was configured.

    Effect: nothing holds the weights back, and the model overfits sooner, if it can. Nobody says a word.
    Why it goes undetected: the training loss is as good or better; the setting is in the configuration and in the log.
    Example:
        torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.0)      # hparams.weight_decay is unused
    Remedy: log the settings of the optimizer that was built, and not those of the configuration.
    """
    for group in groups_in(result):
        if group.get("weight_decay"):
            group["weight_decay"] = 0.0
    return result


@failure_mode(
    "optimizer.layer-replaced",
    seam=Optimizers,
    severity="major",
    effect="silent",
    cause=("optimizer", "did not change", "replaced", "foreign", "not trained", "frozen"),
    evidence=("microsoft/nni#4521",),
)
def replace_layer(result: Any, ctx: Context) -> Any:
    """The last layer is made anew after the optimizer was.

    The new parameters hold the old ones' values in another order, which is as good as an initialisation.

    Effect: the optimizer goes on stepping the old parameters, which nobody uses; the new ones get gradients, which
    only validation clears, and stay as they are. Nobody says a word.
    Why it goes undetected: the loss falls, and the optimizer's parameters are right in number and shape.
    Example:
        def on_fit_start(self):                 # after configure_optimizers
            self.head = nn.Linear(self.width, self.trainer.datamodule.num_classes)
    Remedy: build everything in `__init__` or `configure_model`; compare the optimizer's parameters with the module's by
    identity when training starts.
    """
    name, parameters = _last_layer(groups_in(result), ctx)
    for key, parameter in parameters.items():
        order = torch.randperm(parameter.numel(), generator=ctx.generator)
        values = parameter.detach().flatten()[order.to(parameter.device)].view_as(parameter)
        setattr(ctx.module.get_submodule(name), key, torch.nn.Parameter(values, parameter.requires_grad))
    return result
