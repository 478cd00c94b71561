"""optimizer: failure modes of the optimizers, their steps and their state."""

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
    """Return the name of the last layer with a parameter in the groups, and that layer's parameters by name."""
    held = {id(parameter) for group in groups for parameter in group["params"]}
    last = [name for name, parameter in ctx.module.named_parameters() if id(parameter) in held][-1].rpartition(".")[0]
    return last, dict(ctx.module.get_submodule(last).named_parameters(recurse=False))


@failure_mode(
    "optimizer.none",
    seam=Optimizers,
    severity="critical",
    effect="warns",
    cause=("optimizer", "did not change", "no parameter"),
    needs=("configured-optimizers",),
    evidence=("Lightning-AI/pytorch-lightning#1279", "Lightning-AI/pytorch-lightning#11178"),
)
def forget_optimizer(result: Any, ctx: Context) -> Any:
    """`configure_optimizers` forgets its `return`.

    Effect: Lightning warns that `fit` will run with no optimizer, and trains with a mock that does nothing: backward
    runs, gradients accumulate, `global_step` increases, and no parameter moves. Under manual optimization
    `self.optimizers()` returns that one mock, and a module that expects two raises an error when it unpacks it.
    Why it goes undetected: it is one line among the warnings at startup, and the loss still varies from batch to batch.
    Example:
        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters())     # `return optimizer` is missing
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
    """The optimizer has a parameter group without parameters.

    Effect: every step changes nothing. No error or warning is raised. torch rejects an empty list of parameters
    (`optimizer.empty-list`), but not a group whose list is empty. With gradient clipping, torch warns that no gradient
    clipping will occur; only L-BFGS raises an error, an `IndexError` at the first step.
    Why it goes undetected: the optimizer exists, with its learning rate and schedule, and `global_step` increases.
    Example:
        frozen = [p for p in self.backbone.parameters() if p.requires_grad]     # none requires a gradient
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
    """The optimizer receives an empty list of parameters.

    Effect: torch raises a `ValueError`, optimizer got an empty parameter list, while `configure_optimizers` runs. The
    same parameters as a group, `[{"params": []}]`, are accepted without an error or warning (`optimizer.empty`).
    Why it goes undetected: it does not go undetected.
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
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of the parameter tensors that is left out, from the first"),),
    needs=("several-optimized",),
    evidence=("ACEsuit/mace#1529", "facebookresearch/mmf#620"),
)
def leave_out_parameters(result: Any, ctx: Context) -> Any:
    """The optimizer holds only some of the parameters: those of the first layers are missing.

    Effect: the missing layers keep their initial values, and the others learn around them. No error or warning is
    raised.
    Why it goes undetected: the loss falls, only less than it could, and how far it could fall is unknown.
    Example:
        def configure_optimizers(self):
            return torch.optim.Adam(self.decoder.parameters())      # self.encoder is missing
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
    """The last layer, which was added for this task, is not in the optimizer.

    Effect: the layer keeps its initial values, and the layers before it adapt to them. No error or warning is raised.
    Why it goes undetected: the loss falls, because features that adapt to a random head are almost as good as with a
    trained one.
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

    Effect: it steps tensors that never get a gradient. The model does not learn, and because `zero_grad` clears the
    copy's gradients, its own accumulate. No error or warning is raised.
    Why it goes undetected: the number and shapes of the optimizer's parameters are right.
    Example:
        optimizer = torch.optim.Adam(LitModel().parameters())   # of a new model
        self.model = copy.deepcopy(self.model)                  # or a copy made after the optimizer
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
    """The optimizer is of the wrong kind: SGD instead of any other, Adam instead of SGD.

    Effect: with a learning rate meant for Adam, SGD hardly moves; with one meant for SGD, Adam overshoots. No error or
    warning is raised.
    Why it goes undetected: the model learns, only worse, as with any poor choice of settings.
    Example:
        optimizer_class = getattr(torch.optim, config.get("optimiser", "SGD"))      # the key is spelled differently
    Remedy: log the optimizer's class and settings, and compare them with those of the reference run.
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
    doses=(Dose("epsilon", 1.0, 0.0, 1e6, "epsilon of every optimizer that has one"),),
    needs=("epsilon",),
    evidence=("mlpnlp/mlpnlp-nmt#4", "ibab/tensorflow-wavenet#149"),
)
def mistake_epsilon(result: Any, ctx: Context) -> Any:
    """Adam's epsilon is far from its proper value.

    Effect: a large epsilon outweighs the second moment, so that Adam becomes a slow SGD with momentum; with an epsilon
    of 0, a parameter with a zero gradient becomes NaN. No error or warning is raised.
    Why it goes undetected: epsilon is not considered an important setting, and the loss falls a little.
    Example:
        torch.optim.Adam(self.parameters(), lr, (0.9, 0.999), 1e-1)     # meant as weight_decay, the next argument
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
    doses=(Dose("decay", 10.0, 0.0, 1e9, "weight decay of every parameter group"),),
    needs=("weight-decay",),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change weights regularisation)",),
)
def exaggerate_weight_decay(result: Any, ctx: Context) -> Any:
    """Weight decay is far too large.

    Effect: the weights are pulled to zero faster than the loss can push them away. No error or warning is raised. If
    learning rate times decay is above 2, they diverge instead.
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

    Effect: nothing restrains the weights, and the model overfits sooner, if it can. No error or warning is raised.
    Why it goes undetected: the training loss is as good or better, and the setting is in the configuration and in the
    log.
    Example:
        torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.0)      # hparams.weight_decay is unused
    Remedy: log the settings of the optimizer that was built, not those of the configuration.
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
    needs=("own-layers",),
    evidence=("microsoft/nni#4521",),
)
def replace_layer(result: Any, ctx: Context) -> Any:
    """The last layer is created again after the optimizer.

    The new parameters hold the old ones' values in a different order, which amounts to a new initialization.

    Effect: the optimizer continues to step the old parameters, which are no longer used; the new ones get gradients,
    which only validation clears, and keep their values. No error or warning is raised.
    Why it goes undetected: the loss falls, and the number and shapes of the optimizer's parameters are right.
    Example:
        def on_fit_start(self):                 # after configure_optimizers
            self.head = nn.Linear(self.width, self.trainer.datamodule.num_classes)
    Remedy: build all layers before the optimizer (with Lightning, in `__init__` or `configure_model`); compare the
    optimizer's parameters with the module's by identity when training starts.
    """
    name, parameters = _last_layer(groups_in(result), ctx)
    for key, parameter in parameters.items():
        order = torch.randperm(parameter.numel(), generator=ctx.generator)
        values = parameter.detach().flatten()[order.to(parameter.device)].view_as(parameter)
        setattr(ctx.module.get_submodule(name), key, torch.nn.Parameter(values, parameter.requires_grad))
    return result
