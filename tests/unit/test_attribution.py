"""Gradients of what a network answers with respect to its layers."""

from __future__ import annotations

import numpy as np
import tiny_networks
import torch
from striate_service.models.layers import capture, describe_layers, output_with
from striate_service.models.layouts import prefix_of, to_map
from striate_service.models.outputs import answer_of
from striate_service.techniques.attribution import (
    group_effects,
    group_gradients,
    neuron_effects,
    path_gradients,
    target_gradients,
)
from striate_service.techniques.target_values import target_values
from striate_service.techniques.targets import Embedding, Output


def test_a_layer_that_the_answer_does_not_use_has_no_effect() -> None:
    layer = torch.ones(2, 3, 4, 4, requires_grad=True)
    values = torch.randn(2, 2)
    of_others = values * torch.ones(2, requires_grad=True)
    for unused in (values, of_others):
        found = [gradient for (gradient,) in target_gradients([unused], [layer])]
        assert len(found) == 2
        assert all(torch.equal(gradient, torch.zeros(2, 3, 4, 4)) for gradient in found)
    means, at_zero = path_gradients(layer[0].detach(), lambda points: values[:1].expand(len(points), 2), 4)
    assert torch.equal(means, torch.zeros(2, 3, 4, 4))
    assert torch.equal(at_zero, values[0])
    flows = group_gradients(torch.randn(2, 6, 2, 2), layer, torch.rand(2, 2, 2, 3), torch.rand(3, 6))
    assert torch.equal(flows, torch.zeros(2, 3, 3, 4, 4))


def test_effects_of_tokens_are_computed_where_the_network_is() -> None:
    """On torch's meta device, which refuses to mix with another as a GPU does."""
    network = tiny_networks.registers().eval().requires_grad_(False)
    (layer,) = (each for each in describe_layers(network, (3, 32, 32)) if each.path == "blocks.0")
    network, images = network.to("meta"), torch.empty(2, 3, 32, 32, device="meta")
    targets = (Output(1), Embedding(np.full(5, 5**-0.5, np.float32)))

    tokens = capture(network, images, [layer.path]).layers[layer.path]
    maps, prefix = to_map(tokens, layer), prefix_of(tokens, layer)

    def values_of(points: torch.Tensor) -> torch.Tensor:
        pixels, tokens_kept = (each[:1].expand(len(points), *each.shape[1:]) for each in (images, prefix))
        changed = output_with(network, pixels, layer, points, tokens_kept)
        return target_values(answer_of(changed), slice(len(points)), targets)

    means, at_zero = path_gradients(maps[0], values_of, 4, 2)
    assert means.shape == (2, layer.channels, 4, 4)
    channels = maps[0].flatten(1).argsort(dim=0)[:3]
    effects = neuron_effects(maps[0].flatten(1), means.flatten(2), channels)
    weights, directions = (torch.empty(shape, device="meta") for shape in ((2, 4, 4, 3), (3, layer.channels)))
    of_groups = group_effects(maps, means.expand(2, *means.shape), weights, directions)
    assert [each.device.type for each in (means, at_zero, effects, *of_groups)] == ["meta"] * 5
