"""The work as a mosec service: python mosec_server.py --address 127.0.0.1 --port PORT; workers by environment."""

from __future__ import annotations

import os
from typing import Any

from mosec import Server, Worker
from work import Assignment, Network


class Explain(Worker):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.network = Network(Assignment.from_environment())

    def deserialize(self, data: bytes) -> Any:
        return self.network.decode(data)

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        return [{"mean": mean, "classes": classes} for mean, classes in self.network.explain(data)]


if __name__ == "__main__":
    server = Server()
    workers, batch = int(os.environ["BENCHMARK_WORKERS"]), int(os.environ["BENCHMARK_BATCH"])
    server.append_worker(Explain, num=workers, max_batch_size=batch, max_wait_time=2)
    server.run()
