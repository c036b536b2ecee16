"""The client that is awaited. `striate.Client` is the one that blocks; they differ in nothing else."""

from __future__ import annotations

from striate._async.client import Client

__all__ = ["Client"]
