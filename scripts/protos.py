"""Generate the gRPC stubs in client/striate/v1 from protos/, or with --check tell whether they are up to date."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from generated import stale_files, wants_check
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"
STUBS = ROOT / "client"


def generate(out: Path) -> None:
    """Write the package striate.v1 below `out`: messages, services and their type hints."""
    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    well_known_types = str(files("grpc_tools") / "_proto")
    arguments = [f"-I{PROTOS}", f"-I{well_known_types}", f"--python_out={out}", f"--pyi_out={out}"]
    arguments += [f"--grpc_python_out={out}", f"--mypy_grpc_out={out}"]
    if protoc.main(["protoc", *arguments, *sources]) != 0:
        sys.exit("protoc failed")
    package = out / "striate" / "v1"
    for source in sources:  # a file without services gets empty service stubs
        if "\nservice " not in Path(source).read_text():
            for suffix in ("_pb2_grpc.py", "_pb2_grpc.pyi"):
                (package / f"{Path(source).stem}{suffix}").unlink(missing_ok=True)
    (package / "__init__.py").write_text('"""Generated from protos/striate/v1 by `make protos`. Do not edit."""\n')


def stale_stubs() -> list[str]:
    """Return the names of the stubs that differ from freshly generated ones."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = Path(folder) / "striate" / "v1", STUBS / "striate" / "v1"
        return stale_files(fresh, committed, committed.glob("*.py*"))


def main() -> None:
    if wants_check(__doc__):
        stale = stale_stubs()
        if stale:
            sys.exit(f"stale stubs: {', '.join(stale)}. Run `make protos`.")
    else:
        generate(STUBS)


if __name__ == "__main__":
    main()
