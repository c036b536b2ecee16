"""Gradients of what a network answers with respect to its layers."""

from __future__ import annotations

import torch
from striate_service.techniques.attribution import class_gradients, group_gradients, path_gradients


def test_a_layer_that_the_answer_does_not_use_has_no_effect() -> None:
    layer, classes = torch.ones(2, 3, 4, 4, requires_grad=True), torch.tensor([[0, 2], [1, 2]])
    logits = torch.randn(2, 5)
    of_others = logits * torch.ones(5, requires_grad=True)
    for unused in (logits, of_others):
        assert torch.equal(class_gradients(unused, layer, classes), torch.zeros(2, 2, 3, 4, 4))
    means, at_zero = path_gradients(layer[0].detach(), classes[0], lambda points: logits[:1].expand(len(points), 5), 4)
    assert torch.equal(means, torch.zeros(2, 3, 4, 4))
    assert torch.equal(at_zero, logits[0, classes[0]])
    flows = group_gradients(torch.randn(2, 6, 2, 2), layer, torch.rand(2, 2, 2, 3), torch.rand(3, 6))
    assert torch.equal(flows, torch.zeros(2, 3, 3, 4, 4))
