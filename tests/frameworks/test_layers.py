"""What is done to single layers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.frameworks.torch import layers


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3), (2, 4, 20)),
        (nn.Conv1d(4, 6, 4, padding="same"), (2, 4, 20)),
        (nn.Conv2d(4, 6, 1), (2, 4, 9, 7)),
        (nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0), dilation=(1, 3)), (2, 4, 16, 12)),
        (nn.Conv2d(4, 6, 3, padding="valid", groups=2), (2, 4, 16, 12)),
        (nn.Conv2d(4, 6, (3, 5), padding=(2, 1), dilation=(1, 2), padding_mode="reflect"), (2, 4, 16, 20)),
        (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(2, 1), padding_mode="circular"), (2, 4, 16, 12)),
        (nn.Conv3d(4, 6, 3, bias=False), (2, 4, 6, 7, 8)),
    ],
)
def test_an_enlarged_convolution_gives_the_shape_that_it_gave(layer: Any, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    with torch.no_grad():
        before = layer(inputs)
    weight, kernel = layer.weight, layer.kernel_size
    layers.enlarge(layer, torch.Generator().manual_seed(0))
    assert layer.weight is weight, "an optimizer may hold it already"
    assert layer.kernel_size == tuple(weight.shape[2:]) == tuple(size + 2 for size in kernel)
    after = layer(inputs)
    assert after.shape == before.shape
    after.sum().backward()
    assert layer.weight.grad.shape == weight.shape
    settings = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    twin = type(layer)(4, 6, layer.kernel_size, bias=layer.bias is not None, **settings)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(inputs), after), "it is the layer that torch would have made"


def test_a_layer_in_anothers_place_has_what_is_read_of_it_and_none_of_its_parameters() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.BatchNorm1d(4))
    weight = net[0].weight
    for index, new in enumerate([nn.Identity(), nn.Sigmoid(), nn.Identity()]):
        layers.replace(net, net[index], new)
    assert (net[0].weight is weight, net[0].in_features, net[1].negative_slope, net[2].eps) == (True, 4, 0.2, 1e-5)
    net[2].reset_running_stats()
    assert (list(net.parameters()), list(net.state_dict())) == ([], [])
    pickle.loads(pickle.dumps(net))
