"""Factorize matrices: check, start, descend, measure."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from striate_service.techniques.factorization.descent import descend
from striate_service.techniques.factorization.problem import (
    Factorization,
    check_components,
    check_matrix,
    normalized,
)
from striate_service.techniques.factorization.start import nndsvd

# Stop when the squared error has fallen by less than this share of itself over _CHECK iterations. At 1e-6 the result on
# real activations is within 1.00001 of scikit-learn's at tol=1e-6.
_TOLERANCE = 1e-6
_MAX_ITERATIONS = 2000

Start = Literal["nndsvd", "nndsvda"] | tuple[Tensor, Tensor]


def factorize(
    x: Tensor,
    components: int,
    *,
    init: Start = "nndsvd",
    tolerance: float = _TOLERANCE,
    max_iterations: int = _MAX_ITERATIONS,
) -> Factorization:
    """Factorize a non-negative matrix, or a batch of them. The same input gives the same output.

    Args:
        x: [M, C] or [B, M, C], finite, >= 0.
        components: K, 1 to min(M, C).
        init: where to start; or W [..., M, K] and H [..., K, C], finite, >= 0.
        tolerance: stop a problem when an iteration changes its squared error by less than this share of it.

    Raises:
        ValueError: `x` is not such a matrix, or K is out of range.
    """
    check_matrix(x)
    check_components(x, components)
    batch = x if x.dim() == 3 else x[None]
    x64 = batch.double()
    w, h = nndsvd(x64, components) if isinstance(init, str) else init
    w, h = w.double().reshape(len(batch), -1, components), h.double().reshape(len(batch), components, -1)
    iterations = torch.tensor([descend(*parts, tolerance, max_iterations) for parts in zip(x64, w, h, strict=True)])
    found = normalized(batch.float(), w.float(), h.float(), iterations)
    return found if x.dim() == 3 else found.unbind()[0]
