"""The process that factorizes a spool. `spool.py` starts it with two inherited descriptors."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from striate_service.backends.local.messages import write
from striate_service.backends.protocol import SpoolBasis, SpoolFailed, SpoolProgress
from striate_service.children import end_with_server
from striate_service.techniques import factorization
from striate_service.techniques.factorization import factorize_batches, project

_NICENESS = 10  # lower priority than workers: no interactive request waits for it
_ROWS = 4096  # read at a time: 8 MB for 512 channels
_SAMPLED_BLOCKS = 8  # of _ROWS, evenly spaced, on which group strengths are measured: 32,768 positions
_QUANTILE = 0.9  # as for an overlay's scale


def main(
    socket_descriptor: int,
    spool_descriptor: int,
    channels: int,
    components: int,
    method: Literal["nmf", "semi-nmf"],
    rectify: bool,
) -> None:
    end_with_server()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    server = socket.socket(fileno=socket_descriptor).makefile("rwb")
    rows = os.fstat(spool_descriptor).st_size // (2 * channels)

    def read(start: int) -> Tensor:
        data = os.pread(spool_descriptor, 2 * channels * min(_ROWS, rows - start), 2 * channels * start)
        return torch.from_numpy(np.frombuffer(data, np.float16).reshape(-1, channels).astype(np.float32))

    def batches() -> Iterator[Tensor]:
        return map(read, range(0, rows, _ROWS))

    def send_progress(progress: factorization.Progress) -> None:
        write(server, SpoolProgress((progress.phase + min(1.0, progress.rows / rows)) / progress.phases))

    try:
        basis = factorize_batches(batches, components, method=method, rectify=rectify, progress=send_progress)
        starts = np.linspace(0, max(0, rows - _ROWS), _SAMPLED_BLOCKS).astype(int).tolist()
        strengths = torch.cat(
            [
                project(read(start), basis.directions, method=method, rectify=rectify).weights.sum(1)
                for start in dict.fromkeys(starts)
            ]
        )
        write(
            server,
            SpoolBasis(
                basis.directions.numpy(),
                basis.importance.numpy(),
                float(basis.relative_error),
                float(np.quantile(strengths.numpy(), _QUANTILE)),
            ),
        )
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server cancelled, or died
    except Exception as error:
        write(server, SpoolFailed(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    own_socket, spool, channels, components = map(int, sys.argv[1:5])
    main(own_socket, spool, channels, components, "nmf" if sys.argv[5] == "nmf" else "semi-nmf", sys.argv[6] == "1")
