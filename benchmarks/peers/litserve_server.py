"""The work as a LitServe service: python litserve_server.py PORT WORKERS BATCH"""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
from work import Assignment, Network


class Api(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.network = Network(Assignment.from_environment())

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe would read an annotation
        return self.network.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def predict(self, pixels: Any) -> Any:
        batch = pixels if isinstance(pixels, list) else [pixels]
        results = self.network.explain(batch)
        return results if isinstance(pixels, list) else results[0]

    def encode_response(self, output: tuple[list[float], list[int]]) -> dict[str, Any]:
        return {"mean": output[0], "classes": output[1]}


if __name__ == "__main__":
    port, workers, batch = map(int, sys.argv[1:])
    api = Api(max_batch_size=batch, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(port=port, host="127.0.0.1", log_level="error", generate_client_file=False)
