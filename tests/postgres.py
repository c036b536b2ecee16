"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return Path(found).parent if found else installed[-1] if installed else None


@contextmanager
def postgresql(binaries: Path) -> Iterator[str]:
    """Run a new server on a free loopback port, and yield the URL of its database."""
    with tempfile.TemporaryDirectory(prefix="striate-postgres-") as folder:
        data, user = Path(folder, "data"), []
        if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
            user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]

        def run(program: str, *arguments: str) -> None:
            command = [*user, str(binaries / program), "-D", str(data), *arguments]
            with Path(folder, "log").open("a") as log:  # not a pipe, which the server would hold open
                subprocess.run(command, check=True, cwd="/", stdout=log, stderr=subprocess.STDOUT, timeout=120)

        run("initdb", "--auth=trust", "--username=striate", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "--wait", "-o", options, "start")
        try:
            yield f"postgresql://striate@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--wait", "--mode=immediate", "stop")
