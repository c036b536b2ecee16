"""The losses of the embedded model's training: what they reward is what a factorization finds."""

from __future__ import annotations

import torch
from striate_service.models.embedded.train import PartsHere, attack
from striate_service.techniques.factorization import factorize
from torch import Tensor, nn

_PARTS, _CHANNELS, _SIDE = 3, 12, 6


def _shares() -> Tensor:
    """Three parts beside each other in one of two pictures; the other is empty: [2, 3, 6, 6]."""
    shares = torch.zeros(2, _PARTS, _SIDE, _SIDE)
    for part in range(_PARTS):
        shares[0, part, :, 2 * part : 2 * part + 2] = 1
    return shares


def _classifier() -> PartsHere:
    """Each part on four channels of its own."""
    classifier = PartsHere(_CHANNELS, _PARTS)
    with torch.no_grad():
        classifier.weights.copy_(torch.eye(_PARTS).repeat_interleave(4, 1))
    return classifier


def test_maps_that_are_the_sum_of_their_parts_cost_nothing_and_factorize_into_them() -> None:
    shares, classifier = _shares(), _classifier()
    maps = torch.einsum("nphw,pc->nchw", shares, classifier.weights.detach()) * 5
    assert classifier.unlike_parts(maps, shares) < 1e-6
    groups = factorize(maps.permute(0, 2, 3, 1).reshape(-1, _CHANNELS), _PARTS).weights.T
    expected = shares.transpose(0, 1).flatten(1)
    likeness = nn.functional.normalize(groups) @ nn.functional.normalize(expected).T
    assert torch.allclose(likeness.max(1).values, torch.ones(_PARTS), atol=1e-4)
    assert sorted(likeness.argmax(1).tolist()) == list(range(_PARTS))


def test_what_shows_beside_parts_costs() -> None:
    shares, classifier = _shares(), _classifier()
    maps = torch.einsum("nphw,pc->nchw", shares, classifier.weights.detach())
    noisy = maps.clone()
    noisy[1] += 0.5  # a picture without parts
    drowned = maps * torch.tensor([10.0] * 4 + [1.0] * 8).view(1, -1, 1, 1)  # one part louder than the others
    for worse in (noisy, drowned):
        assert classifier.unlike_parts(worse, shares) > 0.1


def test_an_adversary_stays_within_its_room_and_raises_the_loss() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    images, labels = torch.randn(16, 3, 8, 8), torch.randint(5, (16,))
    changed = attack(network, images, labels, epsilon=0.05)
    assert (changed - images).abs().max() <= 0.05 / 0.25 + 1e-5  # pixels are divided by a deviation of 0.25
    loss = nn.functional.cross_entropy
    assert loss(network(changed), labels) > loss(network(images), labels)
