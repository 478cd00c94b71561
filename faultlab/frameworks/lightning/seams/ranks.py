"""How the ranks of a training begin: the variables of their launcher, and the samplers that shard their data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from torch.utils.data import DistributedSampler

from faultlab.catalogue.injection_points import Launch, SamplerArguments
from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import NAME, namespaces, private_api
from faultlab.frameworks.lightning.clock import STAGES
from faultlab.injection.hooks import Site, hooks
from faultlab.ranks import membership

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_MEETING = timedelta(seconds=2)


@hooks(Launch, framework=NAME)
def launch(point: Launch, patches: Patches, armed: Armed, site: Site) -> None:
    def make(begin: Callable[..., Any]) -> Callable[..., Any]:
        def beginning(strategy: Any) -> Any:
            member = membership.present()
            if member is not None and armed.due("train"):
                before = dict(member.environment)
                after = armed.map(before)
                _set(after, patches)
                if any(before[name] != after.get(name) for name in _ADDRESS):
                    _meet_at(after)
            return begin(strategy)

        return beginning

    for namespace in namespaces.loaded():
        patches.wrap(private_api.part(namespace, private_api.DDP), "setup_distributed", make)
        if (sharing := namespaces.sharding_strategy(namespace)) is not None:
            patches.wrap(sharing, private_api.SET_UP_SHARDING, make)


def _set(variables: Mapping[str, str], patches: Patches) -> None:
    for name, value in variables.items():
        before = os.environ.get(name)
        os.environ[name] = value
        patches.on_exit(lambda name=name, before=before: _restore(name, before))  # type: ignore[misc]


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _meet_at(variables: Mapping[str, str]) -> None:
    """Open the store of a rank as torch's rendezvous by environment variables does."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = (variables[name] for name in _ADDRESS)
    first = int(variables["RANK"]) == 0
    TCPStore(address, int(port), int(variables["WORLD_SIZE"]), first, _MEETING, wait_for_workers=False)


@hooks(SamplerArguments, framework=NAME)
def sampler_arguments(point: SamplerArguments, patches: Patches, armed: Armed, site: Site) -> None:
    stage: str | None = None

    def choosing(choose: Callable[..., Any]) -> Callable[..., Any]:
        def chosen(dataloader: Any, shuffle: bool, overfit_batches: Any, mode: Any = None, **kwargs: Any) -> Any:
            nonlocal stage
            stage = STAGES.get(getattr(mode, "value", ""))
            try:
                return choose(dataloader, shuffle, overfit_batches, mode, **kwargs)
            finally:
                stage = None

        return chosen

    def make(construct: Callable[..., Any]) -> Callable[..., Any]:
        def constructing(sampler: Any, dataset: Any, **arguments: Any) -> None:
            due = stage is not None and armed.due(stage)
            construct(sampler, dataset, **(armed.map(arguments) if due else arguments))

        return constructing

    patches.wrap(DistributedSampler, "__init__", make)
    for namespace in namespaces.loaded():
        connector = private_api.part(namespace, private_api.SAMPLING)
        patches.wrap(connector, private_api.CHOOSE_SAMPLER, choosing)
