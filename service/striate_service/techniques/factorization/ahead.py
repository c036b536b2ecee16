"""Compiling before anybody waits: numba compiles a function when it is first called with numbers of a kind."""

from __future__ import annotations

import torch

from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.projection import project


def compile_ahead() -> None:
    """Compile what factorizations and projections on a CPU need, or load it where it is kept: a minute, or a second."""
    random = torch.Generator().manual_seed(0)
    for shape in ((256, 128), (8, 8)):  # of the second kind are small problems, which are computed in float64
        x = torch.rand(shape, generator=random)
        project(x, factorize(x, 2).directions)
