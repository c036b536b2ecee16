"""How much of a worker's GPU is in use: its memory as CUDA tells it, its utilization as NVML does."""

from __future__ import annotations

import time

import torch

from striate_service.backends.local.messages import DeviceUse

_INTERVAL = 1.0  # seconds, the least between two readings: batches of a GPU take milliseconds


class DeviceGauge:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._has_nvml = True
        self._next = 0.0

    def read_now_and_then(self) -> DeviceUse | None:
        """Return what is in use; None: of a CPU, or where that was told less than a second ago."""
        if self._device.type != "cuda" or time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _INTERVAL
        try:
            free, total = torch.cuda.mem_get_info(self._device)
        except RuntimeError:  # a broken device is noticed elsewhere
            return None
        return DeviceUse(total - free, total, self._utilization())

    def _utilization(self) -> float | None:
        if not self._has_nvml:
            return None
        try:
            return torch.cuda.utilization(self._device) / 100
        except (ImportError, RuntimeError):  # its package is not installed, or it does not know the device
            self._has_nvml = False
            return None
