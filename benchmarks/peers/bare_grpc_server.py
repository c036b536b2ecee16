"""The work behind a minimal gRPC service: python bare_grpc_server.py PORT PROCESSES

One process per core, at PORT, PORT + 1 and so on. Each decodes and computes in the handler, one request at a time. It
checks, queues, batches, measures and refuses nothing, and callers must distribute their calls. Its throughput is what
gRPC for Python leaves of the raw loop, on cores that the callers share.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import grpc
import numpy as np
from onnx_network import OnnxNetwork
from striate.tensors import write_tensor
from striate.v1 import interpretability_pb2 as messages
from striate.v1 import interpretability_pb2_grpc as services
from striate_service.event_loop import run
from work import Assignment


class Service(services.InterpretabilityServiceServicer):
    def __init__(self) -> None:
        self._network = OnnxNetwork(Assignment.from_environment())

    async def Activations(  # noqa: N802 - gRPC's name
        self, request: messages.ActivationsRequest, _context: Any
    ) -> messages.ActivationsResponse:
        pixels = self._network.decode(request.images[0].encoded)
        ((means, classes),) = self._network.explain([pixels])
        response = messages.ActivationsResponse()
        write_tensor(response.layers.add().tensor, np.array([means], np.float32))
        predictions = response.predictions.add().predictions
        for index in classes:
            predictions.add().predicted_class.index = index
        return response


async def serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2**26)])
    services.add_InterpretabilityServiceServicer_to_server(Service(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    port, processes = map(int, sys.argv[1:])
    if processes > 1:
        subprocess.Popen([sys.executable, __file__, str(port + 1), str(processes - 1)])
    run(serve(port))


if __name__ == "__main__":
    main()
