"""Batches whose samples lie one behind another, as graphs do: how many there are, and what is not broken in them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.part_facts import Leaf
from faultlab.core.target_profile import TargetProfile
from faultlab.injection import joined, samples
from faultlab.injectors._samples import size
from faultlab.injectors.dataset import random_labels
from faultlab.injectors.loader import _arranged
from tests.injection.outer import probed
from tests.zoo import foreign, parts

NODES = torch.tensor([2, 3, 2, 4])
OWNERS = torch.arange(4).repeat_interleave(NODES)
STARTS = torch.tensor([0, 2, 5, 7, 11])
PAIRS = torch.tensor([[0, 1, 2, 4, 5, 9], [1, 0, 3, 2, 6, 10]])


class Graph(NamedTuple):
    kinds: torch.Tensor
    neighbours: torch.Tensor
    batch: torch.Tensor
    energy: torch.Tensor


class Joined:
    """Several graphs as DGL joins them."""

    def __init__(self) -> None:
        self.batch_size = 4
        self.features = torch.randn(11, 3)

    def batch_num_nodes(self) -> torch.Tensor:
        return NODES

    def to(self, device: Any) -> Joined:
        return self


def molecules() -> tuple[Any, Any]:
    """Graphs whose edges have a name of their own, and whose owners the read-out alone asks for."""
    drawn = torch.Generator().manual_seed(0)
    singles = [torch.randint(4, (int(n),), generator=drawn) for n in torch.randint(3, 6, (16,), generator=drawn)]

    def join(several: list[torch.Tensor]) -> Graph:
        owners = torch.arange(len(several)).repeat_interleave(torch.tensor([len(one) for one in several]))
        edges = torch.combinations(torch.arange(len(owners))).T
        energies = torch.stack([one.float().sum() for one in several])
        return Graph(torch.cat(several), edges[:, owners[edges[0]] == owners[edges[1]]], owners, energies)

    def loss(lit: Any, graph: Graph) -> torch.Tensor:
        hidden = lit.embed(graph.kinds)
        passed = hidden.index_add(0, graph.neighbours[1], hidden[graph.neighbours[0]])
        read = torch.zeros(len(graph.energy)).index_add(0, graph.batch, lit.read(passed).squeeze(-1))
        return F.mse_loss(read, graph.energy)

    module = parts.module({"embed": nn.Embedding(4, 8), "read": nn.Linear(8, 1)}, loss)
    return module, tuple(DataLoader(singles, batch_size=4, collate_fn=join) for _ in range(2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"of": OWNERS}, "owner"), ({"since": STARTS}, "start"), ({"how_many": NODES}, "size")],
    ids=["owner", "start", "size"],
)
def test_joined_samples_are_known_by_values_whatever_they_are_called(told: dict[str, Any], kind: str) -> None:
    batch = {"features": torch.randn(11, 3), "pairs": PAIRS, "level": torch.tensor([3, 1, 2, 0]), **told}
    found = joined.joins(batch, 4)
    assert found == {next(iter(told)): kind, "pairs": "edge"}
    assert joined.number(batch, found) == 4
    assert torch.equal(joined.owners_of(batch, found), OWNERS)


def test_without_a_size_of_the_loader_joined_samples_are_known_by_name() -> None:
    batch = {"x": torch.randn(11, 3), "batch": OWNERS, "ptr": STARTS}
    assert joined.joins(batch, None) == {"batch": "owner", "ptr": "start"}
    assert joined.joins({"x": torch.randn(11, 3), "level": OWNERS}, None) == {}


def test_a_graph_without_nodes_counts_where_starts_are_known() -> None:
    batch = {"x": torch.randn(11, 3), "batch": OWNERS, "ptr": torch.cat([STARTS, STARTS[-1:]])}
    found = joined.joins(batch, 5)
    assert joined.number(batch, found) == 5
    nothing = {"batch": OWNERS[:0]}
    assert (joined.number(nothing, {"batch": "owner"}), len(joined.owners_of(nothing, {"batch": "owner"}))) == (0, 0)


def test_graphs_that_say_how_many_they_are_need_no_part_for_it() -> None:
    batch = (Joined(), torch.randn(4))
    found = joined.joins(batch, 4)
    assert (found, joined.number(batch, found)) == ({"0": "graph"}, 4)


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.randn(4, 3), "y": torch.tensor([0, 0, 1, 1])},
        {"x": torch.randn(4, 6), "lengths": torch.tensor([1, 2, 1, 2]), "mask": torch.ones(6, 6)},
        {"x": torch.randn(6, 4, 3), "y": torch.tensor([0, 1, 2, 3])},
        {"x": torch.randn(6, 4, 3), "lengths": torch.tensor([1, 2, 1, 2])},
        {"x": torch.randn(4, 3), "batch": torch.zeros(4, dtype=torch.long)},
        {"tokens": torch.randint(4, (4, 2)), "y": torch.randn(4)},
    ],
    ids=["sorted classes", "lengths", "time first", "lengths of time first", "a batch's number", "pairs of tokens"],
)
def test_samples_side_by_side_are_not_taken_for_joined(batch: Any) -> None:
    assert joined.joins(batch, 4) == {}
    assert samples.count(batch, samples.axes(batch, list(batch)[:1], list(batch)[1:], 4)) == 4


def test_views_of_a_sample_that_lie_side_by_side_are_not_joined() -> None:
    views = {"x": torch.randn(8, 5), "lengths": torch.randint(1, 6, (8,)), "of": torch.arange(4).repeat_interleave(2)}
    assert joined.joins(views, 4) == {}
    assert joined.joins({**views, "y": torch.randn(4)}, 4) == {"of": "owner"}


@pytest.mark.parametrize(
    ("factory", "inputs", "labels", "contents", "number"),
    [
        (molecules, ("kinds", "neighbours", "batch"), ("energy",), ("kinds",), 4),
        (foreign.graphs, ("store.x", "store.edge_index", "store.batch"), ("store.y",), ("store.x",), 4),
    ],
)
def test_graphs_are_the_samples_and_neither_nodes_nor_edges(
    factory: Any, inputs: tuple[str, ...], labels: tuple[str, ...], contents: tuple[str, ...], number: int
) -> None:
    module, data = factory()
    profile = probed(module, data if isinstance(data, tuple) else (data, None))
    assert (profile.inputs, profile.labels, profile.contents, profile.batch_size) == (inputs, labels, contents, number)
    assert "joined" in REQUIREMENTS["samples-apart"](profile)
    assert [REQUIREMENTS[name](profile) for name in ("several-samples", "label-per-sample")] == ["", ""]
    assert TargetProfile.from_json(profile.to_json()).joins == profile.joins


def test_edges_without_graphs_to_tell_apart_have_no_number() -> None:
    batch = {"x": torch.randn(11, 3), "edge_index": PAIRS, "y": torch.arange(11)}
    found = joined.joins(batch, None)
    assert (found, joined.number(batch, found)) == ({"edge_index": "edge"}, None)


def _context(batch: Any) -> Any:
    profile = TargetProfile(
        joins=joined.joins(batch, 4), inputs=("x", "batch"), labels=("y",), leaves={}, batch_size=4, steps=2, epochs=1
    )
    return SimpleNamespace(profile=profile, memory={}, generator=torch.Generator().manual_seed(0))


def test_random_labels_follow_from_all_nodes_of_a_graph() -> None:
    batch = {"x": torch.randn(11, 3), "batch": OWNERS, "y": torch.zeros(4)}
    ctx = _context(batch)
    assert size(batch, ctx) == 4
    first = random_labels(batch, ctx)["y"]
    assert torch.equal(random_labels(batch, ctx)["y"], first)
    # The second graph's last node.
    batch["x"][4] = 7.0
    assert (random_labels(batch, ctx)["y"] != first).tolist() == [False, True, False, False]


def test_graphs_are_sorted_by_class_batch_by_batch_and_stay_with_their_nodes() -> None:
    batches = [{"x": torch.full((11, 3), float(n)), "batch": OWNERS, "y": torch.tensor(y)} for n, y in
               enumerate([[1, 1, 1, 0], [0, 0, 0, 1]])]  # fmt: skip
    ctx = _context(batches[0])
    ctx.profile = replace(ctx.profile, leaves={"y": Leaf("integer", "int64", (4,), 0.0, 1.0)})
    arranged = _arranged([(batch, index, 0) for index, batch in enumerate(batches)], ctx)
    assert [(float(item[0]["x"][0, 0]), item[0]["y"].tolist()) for item in arranged] == [
        (1.0, [0, 0, 0, 1]),
        (0.0, [1, 1, 1, 0]),
    ]
