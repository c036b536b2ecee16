"""Evaluate an embedded model on fresh pictures: its accuracy, and the parts that its channels detect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate_service.models.embedded import INPUT_SIZE
from striate_service.models.embedded.classes import CLASSES
from striate_service.models.embedded.feed import Batch, batches, normalize
from striate_service.models.embedded.pictures import PARTS, SCENERY, Picture, draw
from striate_service.models.layers import capture, describe_layers
from striate_service.models.layouts import to_map
from striate_service.techniques.dissection import Dissection, dissect

TEST_SEED = 2**31  # training seeds are smaller: no picture is both learned and tested
MIXED = ("mixed3a", "mixed3b", "mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed5a", "mixed5b")
TOKENS = ("blocks.0", "blocks.1", "blocks.2.mlp.1", "blocks.2", "blocks.3", "norm")
"""Of `parts_vit`: tokens after each block, and the hidden units of one (`mlp.1`, after their GELU)."""
CONCEPTS = (*PARTS, *SCENERY)
_BATCH = 64


def fresh_pictures(count: int, class_name: str | None = None, seed: int = TEST_SEED) -> list[Picture]:
    """Draw pictures that no training has seen."""
    return [draw(np.random.default_rng([seed, i]), class_name) for i in range(count)]


def to_inputs(pictures: Sequence[Picture]) -> Tensor:
    """Return pictures as the network takes them: float32 [N, 3, H, W]."""
    return normalize(torch.from_numpy(np.stack([picture.image for picture in pictures])))


@torch.inference_mode()
def accuracy_by_class(network: nn.Module, count: int, difficulty: float = 1.0) -> NDArray[np.float64]:
    """Return the share of fresh pictures that is classified correctly: [classes]."""
    right, total = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    batch: Batch
    for batch in batches(TEST_SEED, count, _BATCH, difficulty=difficulty):
        correct = network(normalize(batch.images)).argmax(1) == batch.labels
        right += np.bincount(batch.labels[correct], minlength=len(CLASSES))
        total += np.bincount(batch.labels, minlength=len(CLASSES))
    return right / np.maximum(total, 1)


@torch.inference_mode()
def dissect_layers(
    network: nn.Module, layers: Sequence[str], count: int, *, signs: bool = False
) -> dict[str, Dissection]:
    """Match the channels of some layers with parts (and scenery) on fresh pictures.

    Args:
        signs: match what each channel is below 0 for, too: 2 C channels, of which the latter half are negative.
    """
    activations: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    masks: list[Tensor] = []
    for start in range(0, count, _BATCH):
        pictures = [draw(np.random.default_rng([TEST_SEED + 1, i])) for i in range(start, min(count, start + _BATCH))]
        for layer, maps in layer_maps(network, pictures, layers).items():
            activations[layer].append((torch.cat([maps, -maps], 1) if signs else maps).half())
        masks.append(mask_tensor(pictures))
    return {layer: dissect(activations[layer], masks, CONCEPTS) for layer in layers}


def layer_maps(network: nn.Module, pictures: Sequence[Picture], layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the maps [N, C, h, w] of some layers, whatever their layout."""
    described = {layer.path: layer for layer in describe_layers(network, (3, INPUT_SIZE, INPUT_SIZE))}
    captured = capture(network, to_inputs(pictures), list(layers)).layers
    return {path: to_map(output, described[path]) for path, output in captured.items()}


def mask_tensor(pictures: Sequence[Picture]) -> Tensor:
    """Return where each concept shows: bool [N, concepts, H, W]."""
    size = pictures[0].image.shape[:2]
    masks = torch.zeros(len(pictures), len(CONCEPTS), *size, dtype=torch.bool)
    for row, picture in zip(masks, pictures, strict=True):
        for index, concept in enumerate(CONCEPTS):
            if concept in picture.masks:
                row[index] = torch.from_numpy(picture.masks[concept])
    return masks
