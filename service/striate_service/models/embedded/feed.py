"""Training data: batches of pictures, which other processes draw while the network learns.

Picture i of a seed is the same whatever the number of processes and the size of batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from striate_service.models.embedded import MEAN, STD
from striate_service.models.embedded.pictures import SIZE, Picture, draw

CELLS = 14
"""Cells along each side of a picture: positions of the mixed4 layers."""


class Batch(NamedTuple):
    images: Tensor
    """uint8 [N, H, W, 3]"""
    labels: Tensor
    """int64 [N]"""
    coverage: Tensor
    """float32 [N, parts, CELLS, CELLS]: the share of each cell of the picture that a part covers."""


class _Batches(Dataset[Batch]):
    def __init__(self, seed: int, count: int, batch_size: int, parts: tuple[str, ...], difficulty: float) -> None:
        self._seed, self._count, self._batch_size = seed, count, batch_size
        self._parts = parts
        self._difficulty = difficulty

    def __len__(self) -> int:
        return self._count // self._batch_size

    def __getitem__(self, index: int) -> Batch:
        numbers = range(index * self._batch_size, (index + 1) * self._batch_size)
        drawn = [draw(np.random.default_rng([self._seed, i]), difficulty=self._difficulty) for i in numbers]
        images = torch.from_numpy(np.stack([picture.image for picture in drawn]))
        coverage = torch.stack([_coverage(picture, self._parts) for picture in drawn])
        return Batch(images, torch.tensor([picture.label for picture in drawn]), coverage)


def _coverage(picture: Picture, parts: tuple[str, ...]) -> Tensor:
    cells = torch.zeros(len(parts), CELLS, CELLS)
    side = SIZE // CELLS
    for index, part in enumerate(parts):
        if part in picture.masks:
            blocks = picture.masks[part].reshape(CELLS, side, CELLS, side)
            cells[index] = torch.from_numpy(blocks.mean((1, 3), dtype="float32"))
    return cells


def batches(
    seed: int, count: int, batch_size: int, *, parts: tuple[str, ...] = (), difficulty: float = 1.0, processes: int = 1
) -> Iterator[Batch]:
    """Draw `count` pictures in `processes` other processes. A last batch that is not full is left out.

    Args:
        parts: those whose coverage is measured.
    """
    dataset = _Batches(seed, count, batch_size, parts, difficulty)
    loader: DataLoader[Batch] = DataLoader(
        dataset, batch_size=None, num_workers=processes, prefetch_factor=8, multiprocessing_context="spawn"
    )
    yield from loader


def normalize(images: Tensor) -> Tensor:
    """Return pictures uint8 [N, H, W, 3] as the network takes them: float32 [N, 3, H, W], channels last."""
    scaled = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2)
