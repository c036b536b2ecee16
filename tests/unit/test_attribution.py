"""Gradients of what a network answers with respect to its layers."""

from __future__ import annotations

import torch
from striate_service.techniques.attribution import group_gradients, path_gradients, target_gradients


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
