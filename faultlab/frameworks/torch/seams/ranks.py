"""The collectives of a rank, the replica around its module, and the epochs and arguments of its sampler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from faultlab.catalogue.injection_points import Collective, Replica, ReplicaArguments, SamplerEpoch
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Collective)
def collective(point: Collective, patches: Patches, armed: Armed, site: Site) -> None:
    from faultlab.ranks import process_group

    def make(perform: Callable[..., Any]) -> Callable[..., Any]:
        def performing(one: process_group.Collective, call: Callable[..., Any]) -> Any:
            if not (point.of in ("", one.of) and point.called in ("", one.name) and armed.due()):
                return perform(one, call)

            def ended(*given: Any) -> Any:
                # At once: the injector, and the count of activations, look at the result.
                work = perform(replace(one, arguments=given or one.arguments), call)
                work.wait()
                return work

            armed.ctx.memory["collective"] = one
            return armed.around(ended, lambda: [tensor.clone() for tensor in one.tensors], by_arguments=True)

        return performing

    patches.wrap(process_group, "performed", make)


@hooks(Replica)
def replica(point: Replica, patches: Patches, armed: Armed, site: Site) -> None:
    def make(forward: Callable[..., Any]) -> Callable[..., Any]:
        def forwarding(wrapper: Any, *args: Any, **kwargs: Any) -> Any:
            if not armed.due():
                return forward(wrapper, *args, **kwargs)
            armed.ctx.memory["replica"] = wrapper
            return armed.around(lambda: forward(wrapper, *args, **kwargs), lambda: _synchronizes(wrapper))

        return forwarding

    patches.wrap(torch.nn.parallel.DistributedDataParallel, "forward", make)


def _synchronizes(wrapper: Any) -> tuple[bool, bool]:
    return wrapper.require_backward_grad_sync, wrapper.broadcast_buffers


@hooks(SamplerEpoch)
def sampler_epoch(point: SamplerEpoch, patches: Patches, armed: Armed, site: Site) -> None:
    def make(set_epoch: Callable[..., Any]) -> Callable[..., Any]:
        def setting(sampler: Any, epoch: int) -> Any:
            if sampler.epoch == epoch or not armed.due():
                return set_epoch(sampler, epoch)
            return armed.around(lambda other=epoch: set_epoch(sampler, other), by_arguments=True)

        return setting

    patches.wrap(torch.utils.data.DistributedSampler, "set_epoch", make)


@hooks(ReplicaArguments)
def replica_arguments(point: ReplicaArguments, patches: Patches, armed: Armed, site: Site) -> None:
    memory = armed.ctx.memory

    def described(arguments: dict[str, Any]) -> list[Any]:
        parameters = arguments["module"].named_parameters()
        return ["constructed" in memory, [(name, one.requires_grad, one.shape) for name, one in parameters]]

    def make(construct: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(construct)

        def constructing(wrapper: Any, *args: Any, **kwargs: Any) -> None:
            given = dict(signature.bind(wrapper, *args, **kwargs).arguments)
            given.pop(next(iter(signature.parameters)))
            construct(wrapper, **(armed.map(given, described) if armed.due("train") else given))
            memory.pop("constructed", lambda wrapper: None)(wrapper)

        return constructing

    patches.wrap(torch.nn.parallel.DistributedDataParallel, "__init__", make)
