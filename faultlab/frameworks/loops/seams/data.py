"""The data of a loop: its loaders' arguments, their streams, and the batches that they yield."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from faultlab.catalogue.injection_points import Batch, Loader, LoaderArguments
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch.batches import mapped_batch
from faultlab.frameworks.torch.loaders import read, rebuilt
from faultlab.injection.hooks import Site, hooks
from faultlab.injection.values import Stream

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks(Batch, framework=NAME)
def batches(point: Batch, patches: Patches, armed: Armed, site: Site) -> None:
    def mapped(batch: Any, stage: str) -> Any:
        return mapped_batch(point, batch, armed) if armed.due(stage) else batch

    listening(patches, armed.clock.trainer.batch_maps, mapped)


@hooks(Loader, framework=NAME)
def loader(point: Loader, patches: Patches, armed: Armed, site: Site) -> None:
    def mapped(stream: Stream, stage: str) -> Stream:
        new: Stream = armed.map(stream) if armed.due(stage) else stream
        return new

    listening(patches, armed.clock.trainer.stream_maps, mapped)


@hooks(LoaderArguments, framework=NAME)
def loader_arguments(point: LoaderArguments, patches: Patches, armed: Armed, site: Site) -> None:
    loop = armed.clock.trainer
    changed: dict[int, tuple[DataLoader[Any], DataLoader[Any]]] = {}

    def training() -> Any:
        return read(next(one for key, one in loop.loaders.items() if loop.stage_of(key) == "train"))

    def mapped(loader: DataLoader[Any], stage: str) -> DataLoader[Any]:
        if not armed.due(stage):
            return loader
        # Once for each loader, which is iterated again in every epoch.
        if id(loader) not in changed:
            before = replace(read(loader), training=training)
            changed[id(loader)] = loader, rebuilt(loader, before, armed.map(before))
        return changed[id(loader)][1]

    listening(patches, loop.loader_maps, mapped)
