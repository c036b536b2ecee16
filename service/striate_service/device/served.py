"""What a worker serves of one model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from striate_service.device.compiled import CompiledNetwork
from striate_service.device.exported import ExportedNetwork
from striate_service.models.description import ModelDescription


@dataclass(frozen=True)
class ServedModel:
    description: ModelDescription
    network: nn.Module
    """As `models.loading` returns it."""
    exported: ExportedNetwork | None = None
    """Computes the same faster, where no gradients are needed."""
    compiled: CompiledNetwork | None = None
    """Likewise, for some of the layers."""
