"""A bucket of the tests' own: moto's server, which speaks S3 over a socket."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.session
from botocore.exceptions import EndpointConnectionError

ACCOUNT = {"AWS_ACCESS_KEY_ID": "striate", "AWS_SECRET_ACCESS_KEY": "striate", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a new server on a free loopback port, and yield its bucket's URL and the environment by which to reach it."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **ACCOUNT}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=ACCOUNT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCOUNT["AWS_SECRET_ACCESS_KEY"],
            region_name=ACCOUNT["AWS_DEFAULT_REGION"],
        )
        end = time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket="striate")
                break
            except EndpointConnectionError:
                assert server.poll() is None, "it has ended"
                assert time.monotonic() < end
                time.sleep(0.2)
        yield "s3://striate", environment
    finally:
        server.kill()
        server.wait()
