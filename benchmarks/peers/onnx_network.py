"""The work by ONNX Runtime, the fastest engine on CPUs that we know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from striate_service.device.exported import exported_network
from work import Assignment, Network, normalize


class OnnxNetwork(Network):
    """Runs on one thread."""

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        self._layer = assignment.layer
        shape = (3, assignment.crop, assignment.crop)
        file = Path(assignment.weights).with_suffix(f".{assignment.crop}.onnx")
        self._exported = exported_network(self._network, [assignment.layer], shape, file)

    def explain(self, pixels: list[Any]) -> list[tuple[list[float], list[int]]]:
        captured = self._exported.capture(normalize(pixels), [self._layer], logits=True)
        assert captured.logits is not None
        classes = captured.logits.softmax(1).topk(5).indices
        return list(zip(captured.layers[self._layer].mean((2, 3)).tolist(), classes.tolist(), strict=True))
