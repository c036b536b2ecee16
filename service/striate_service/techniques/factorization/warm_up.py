"""Compile before the first request: numba compiles a function when it is first called with arguments of a dtype."""

from __future__ import annotations

import torch

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.projection import project


def compile_kernels() -> None:
    """Compile the kernels for factorization and projection on CPUs (a minute), or load cached ones (a second)."""
    random = torch.Generator().manual_seed(0)
    for shape in ((256, 128), (8, 8)):  # the second is a small problem, which is computed in float64
        x = torch.rand(shape, generator=random)
        project(x, factorize(x, 2).directions)
