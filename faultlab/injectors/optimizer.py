"""optimizer: what `configure_optimizers` gives, and what becomes of its steps."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Optimizers, OptimizerState, OptimizerStep, ZeroGrad
from faultlab.frameworks.torch.optimizers import groups_in, hand_over, optimizers_in, schedules_in
from faultlab.injection.armed_fault import Call, Context
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
    Why it goes unnoticed: it is one line among the warnings of start-up, and the loss still varies from batch to batch.
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
    Why it goes unnoticed: the optimizer is there, with its learning rate and schedule, and `global_step` counts.
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
    Why it goes unnoticed: it does not.
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
    Why it goes unnoticed: the loss falls, only less than it could, and nobody knows how far it could.
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
    Why it goes unnoticed: the loss falls; random features are nearly as good with a random head on top.
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
    Why it goes unnoticed: number and shapes of the optimizer's parameters are right.
    Example:
        optimizer = torch.optim.Adam(LitModel().parameters())   # a new model's
        self.model = copy.deepcopy(self.model)                  # or the model copied after the optimizer was made
    Remedy: compare the optimizer's parameters with `self.parameters()` by identity; assert that parameters change.
    """
    for group in groups_in(result):
        group["params"][:] = [torch.nn.Parameter(parameter.detach().clone()) for parameter in group["params"]]
    return result


@failure_mode(
    "optimizer.no-zero-grad",
    seam=ZeroGrad,
    severity="critical",
    effect="silent",
    cause=("zero_grad", "accumulat", "gradient norm", "grad norm", "explod"),
    needs=("several-steps",),
    evidence=("pytorch/pytorch#47175", "yastrebksv/TennisCourtDetector#7"),
)
def keep_gradients(call: Call, ctx: Context) -> None:
    """`zero_grad` is never called.

    Effect: each step is taken with the sum of the gradients so far. Lightning clears them before each validation, so
    that it begins anew with each epoch. Nobody says a word.
    Why it goes unnoticed: early steps are nearly right, the sum acts like a large momentum, and Adam and clipping take
    out its size.
    Example:
        def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
            if batch_idx % 4 == 0:              # accumulation by hand, though steps are taken on every batch
                optimizer.zero_grad()
    Remedy: check that the norm of the gradients does not grow with the number of batches.
    """


@failure_mode(
    "optimizer.step-skipped",
    seam=OptimizerStep,
    severity="critical",
    effect="silent",
    cause=("optimizer step", "optimizer.step", "did not change", "skipped", "no parameter"),
    evidence=("tedlasai/learn2refocus#5", "zhaoyuzhi/deepfillv2#6"),
)
def skip_step(call: Call, ctx: Context) -> Any:
    """`optimizer.step` is never called.

    Effect: forward and backward run, nothing is learnt, without a word; only where there is a scheduler, torch warns
    that it is stepped before the optimizer. Clipping and `on_before_optimizer_step`, which belong to the step, are left
    out too. `global_step` counts all the same; under manual optimisation it stays 0, and `max_steps` is never reached.
    Why it goes unnoticed: the loss is computed and logged, and gradients are there.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer_closure()                 # and no optimizer.step(...)
    Remedy: assert that parameters changed after the first step.
    """
    closure = ctx.memory["closure"]
    return closure() if closure else None


@failure_mode(
    "optimizer.double-step",
    seam=OptimizerStep,
    severity="major",
    effect="silent",
    cause=("twice", "double", "two step", "steps taken"),
    evidence=("NVIDIA/physicsnemo#1911", "mzolfaghari/ECO-pytorch#1"),
)
def step_twice(call: Call, ctx: Context) -> Any:
    """Each batch's gradients are stepped on twice.

    Effect: about twice the learning rate, and moments that have seen every gradient twice; nobody says a word. Under
    manual optimisation `global_step` counts both.
    Why it goes unnoticed: the model learns, at first even faster.
    Example:
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer.step(closure=optimizer_closure)
            optimizer.step()                    # left from before the closure was known
    Remedy: a test that compares one update with `weight - lr * gradient` worked out by hand.
    """
    result = call()
    call(None)
    return result


@failure_mode(
    "optimizer.state-reset",
    seam=OptimizerState,
    severity="minor",
    effect="silent",
    cause=("optimizer state", "reset", "moment", "lost"),
    when="middle",
    needs=("optimizer-state",),
    evidence=("KempnerInstitute/KempnerForge#115", "EvolvingLMMs-Lab/OneVision-Encoder#65"),
)
def reset_state(optimizers: list[torch.optim.Optimizer], ctx: Context) -> None:
    """The optimizer forgets its momenta half-way.

    Effect: training goes on as if the optimizer were new: Adam takes some steps of full length in all directions, SGD
    has to gather speed again. Nobody says a word.
    Why it goes unnoticed: a spike in the loss that heals, or none at all.
    Example:
        model.load_state_dict(checkpoint["state_dict"])     # and checkpoint["optimizer_states"] is left where it is
    Remedy: resume through `ckpt_path`; a test that a resumed run goes on exactly like one that was never stopped.
    """
    for optimizer in optimizers:
        optimizer.state.clear()


@failure_mode(
    "optimizer.state-corrupted",
    seam=OptimizerState,
    severity="major",
    effect="silent",
    cause=("optimizer state", "corrupt", "moment", "spike", "explod"),
    when="middle",
    doses=(Dose("factor", 1e4, 0.0, 1e30, "what momenta and moments are multiplied by", harmless=1.0),),
    needs=("optimizer-state",),
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, scale, optimizer_state)",),
)
def corrupt_state(optimizers: list[torch.optim.Optimizer], ctx: Context) -> None:
    """The optimizer's momenta and moments are of the wrong size from one step on.

    Effect: SGD with momentum is thrown far off. Adam, whose two moments grow alike, takes steps of the root of the
    factor, and then, the second decaying last, creeps. Nobody says a word.
    Why it goes unnoticed: the state is in no log, and parameters, loss and gradients of the moment are healthy.
    Example: a bit that flips in an exponent; a state saved with the gradients of a scaled loss and loaded without.
    Remedy: look at the size of updates, not only of gradients; stop at a spike of the loss.
    """
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for name, value in state.items():
                if name != "step" and isinstance(value, torch.Tensor) and value.is_floating_point():
                    value.mul_(ctx.dose.factor)


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
    Why it goes unnoticed: the model learns, only worse, as with any poor choice of settings.
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
    Why it goes unnoticed: epsilon is not taken for a setting that matters, and the loss falls a little.
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
    Why it goes unnoticed: the loss falls to that of guessing and stays there, as with a model that is too small.
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
    Why it goes unnoticed: the training loss is as good or better; the setting is in the configuration and in the log.
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
    Why it goes unnoticed: the loss falls, and the optimizer's parameters are right in number and shape.
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


@failure_mode(
    "optimizer.drops-update",
    seam=OptimizerStep,
    severity="critical",
    effect="silent",
    cause=("update", "did not change", "no parameter", "optimizer step"),
    evidence=("pytorch/pytorch#115607", "pytorch/pytorch#121291"),
)
def drop_update(call: Call, ctx: Context) -> Any:
    """The optimizer steps, and the parameters end up as they were.

    Effect: hooks, clipping, momenta and `global_step` are those of a healthy run; nothing is learnt, and nobody says a
    word.
    Why it goes unnoticed: the step was called, and whoever counts steps or looks at gradients sees nothing wrong.
    Example:
        step = torch.compile(optimizer.step)    # once compiled without gradients, it did nothing ever after
    Remedy: assert that parameters changed, not that `step` was called.
    """
    parameters = [p for group in ctx.memory["optimizer"].param_groups for p in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    result = call()
    for parameter, value in zip(parameters, before):
        parameter.data.copy_(value)
    return result
