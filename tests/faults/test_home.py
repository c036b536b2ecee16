"""Two servers work on one home; files in it are damaged; the disk is really full, or read-only."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import striate
from PIL import Image
from serving import STRIATE, Running, model_setting, serving

LAYERS = ["layer", "layer.0", "layer.1"]
CHANNELS = 4  # of each
PICTURES = [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in range(4)]
LABELLED = [striate.LabelledImage(picture, "dog") for picture in PICTURES]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[tuple[Running, Running]]:
    """Two servers on one home."""
    with serving(home) as first, serving(home) as second:
        yield first, second


def icons(target: str, layer: str) -> list[bytes]:
    """Return a layer's icons, by channel."""
    with striate.Client(target) as client:
        neurons = [neuron for update in client.render_icons(layer, timeout=120) for neuron in update.neurons]
    assert len(neurons) == CHANNELS
    return [neuron.icon_file.data for neuron in sorted(neurons, key=lambda neuron: neuron.channel)]


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)), float)


@pytest.mark.promise(
    "two servers work on one home",
    "what one stores the other finds (icons, names, bases, examples); each icon is rendered once",
)
def test_two_servers_on_one_home(servers: tuple[Running, Running]) -> None:
    targets = [server.target for server in servers]
    with ThreadPoolExecutor(2) as callers:
        found = list(callers.map(icons, targets, ["layer", "layer"]))
    assert found[0] == found[1]
    assert sum(server.metric("striate_icons_rendered_total") for server in servers) == CHANNELS
    with striate.Client(targets[0]) as first, striate.Client(targets[1]) as second:
        first.set_label("layer", 1, "edge")
        assert [label.text for label in second.labels("layer")] == ["edge"]
        for layer in LAYERS:
            list(first.index_examples(LABELLED, [layer]))
            assert second.examples(layer, [0])

        def save(client: striate.Client, seed: int) -> str:
            try:
                client.factorize(PICTURES[seed], "layer", components=2, icons=False, save_as="contested", timeout=120)
            except striate.AlreadyExists:
                return "taken"
            return "saved"

        with ThreadPoolExecutor(2) as callers:
            assert sorted(callers.map(save, (first, second), (0, 1))) == ["saved", "taken"]
        for layer in LAYERS:
            second.factorize(PICTURES, layer, components=2, rectify=True, icons=False, save_as=layer)
        assert first.bases() == second.bases()
        assert {basis.name for basis in first.bases()} == {"contested", *LAYERS}


@pytest.mark.promise(
    "files of icons, examples and bases are damaged",
    "icons are rendered anew, examples count as absent, the basis is refused by name; the log says so once",
    seen="INTERNAL",
)
def test_damaged_files(servers: tuple[Running, Running], home: Path) -> None:
    before = icons(servers[0].target, "layer")
    files = {
        kind: sorted(home.glob(f"{kind}/**/*{suffix}"))
        for kind, suffix in (("icons", ".webp"), ("examples", ".safetensors"), ("bases", ".npz"))
    }
    files["bases"] = [file for file in files["bases"] if file.stem in LAYERS]
    for damaged in files.values():
        assert len(damaged) >= 3
        damaged[0].write_bytes(damaged[0].read_bytes()[:-20])
        damaged[1].write_bytes(np.random.default_rng(0).bytes(2000))
        damaged[2].write_bytes(b"")
    with serving(home) as third, striate.Client(third.target) as client:
        for again, first in zip(icons(third.target, "layer"), before, strict=True):
            np.testing.assert_allclose(pixels(again), pixels(first), atol=3)  # in another batch it is rounded otherwise
        assert third.metric("striate_icons_rendered_total") == 3
        for _ in range(2):
            for layer in LAYERS:
                with pytest.raises(striate.NotFound, match=f"no index of '{layer}'"):
                    client.examples(layer, [0])
                dictionary = client.semantic_dictionary(PICTURES[0], layer, icons=False)
                assert dictionary.predictions
                with pytest.raises(striate.FailedPrecondition, match=f"the basis '{layer}' is damaged; delete it"):
                    client.factorize(PICTURES[0], layer, basis=layer, icons=False)
                with pytest.raises(striate.AlreadyExists, match=layer):
                    client.factorize(PICTURES[0], layer, components=2, icons=False, save_as=layer)
            assert [basis.name for basis in client.bases()] == ["contested"]
        for file in files["examples"]:
            assert sum(str(file) in line for line in third.log) == 1
        for layer in LAYERS:
            client.delete_basis(layer)
            client.factorize(PICTURES, layer, components=2, rectify=True, icons=False, save_as=layer)
            list(client.index_examples(LABELLED, [layer]))
            assert client.examples(layer, [0])


@pytest.mark.promise(
    "a later version of the server wrote bases and examples",
    "such a basis is refused by name and stays as it is; such examples count as absent; all others are used",
    seen="INTERNAL, or the advice to delete them",
)
def test_what_a_later_version_wrote(servers: tuple[Running, Running], home: Path) -> None:
    later = ("format", 99), ("method", "sparse-nmf")
    with striate.Client(servers[0].target) as client:
        for fact in later:
            client.factorize(PICTURES[0], "layer", components=2, icons=False, save_as=fact[0])
            change_facts(home / "bases" / f"{fact[0]}.npz", *fact)
        list(client.index_examples(LABELLED, ["layer"]))
        (examples,) = home.glob("examples/*/layer.safetensors")
        examples.write_bytes(examples.read_bytes().replace(b'{"format": 1,', b'{"format": 9,'))
        files = {name: (home / "bases" / f"{name}.npz").read_bytes() for name, _ in later}
        for name, _ in later:
            with pytest.raises(striate.FailedPrecondition, match=f"'{name}' was made by a later version of striate"):
                client.factorize(PICTURES[0], basis=name, icons=False)
            with pytest.raises(striate.AlreadyExists, match=name):
                client.factorize(PICTURES[1], "layer", components=3, icons=False, save_as=name)
            assert (home / "bases" / f"{name}.npz").read_bytes() == files[name]
        assert "method" in [basis.name for basis in client.bases()]
        with pytest.raises(striate.NotFound, match="no index of 'layer'"):
            client.examples("layer", [0])


def change_facts(file: Path, name: str, value: object) -> None:
    """Change one of the facts in a basis's file."""
    with np.load(file) as content:
        arrays = dict(content)
    facts = json.loads(arrays["facts"].tobytes()) | {name: value}
    np.savez(file, **arrays | {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)})


@dataclass(frozen=True)
class OwnDisk:
    """A server whose home is a small file system of its own, which only its process sees."""

    server: Running
    home: Path

    @property
    def seen(self) -> Path:
        """Its home, as it sees it."""
        return Path(f"/proc/{self.server.process.pid}/root{self.home}")

    def mount(self, *commands: str) -> None:
        """Run commands of mount(8) or umount(8) where it does."""
        own = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", str(self.server.process.pid)]
        for command in commands:
            subprocess.run([*own, *command.split(), str(self.home)], check=True)


@pytest.fixture(scope="module")
def own_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnDisk]:
    folder = tmp_path_factory.mktemp("disk")
    unshare = ["unshare", "--map-root-user", "--mount"]
    mount = 'mount -t tmpfs -o size=4m tmpfs "$STRIATE_HOME" && exec "$@"'
    (home := folder / "home").mkdir()
    probe = [*unshare, "mount", "-t", "tmpfs", "tmpfs", str(home)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this machine gives users no file systems of their own")
    models = json.dumps([model_setting(folder)])
    command = [*unshare, "sh", "-c", mount, "sh", STRIATE]
    with serving(home, command=command, STRIATE_MODELS=models) as server:
        yield OwnDisk(server, home)


@pytest.mark.promise(
    "the file system is full to the last byte",
    "what is to be stored ends FAILED_PRECONDITION, icons are served all the same; nothing half-written is left",
)
def test_a_full_file_system(own_disk: OwnDisk) -> None:
    server, disk = own_disk.server, own_disk.seen
    with striate.Client(server.target) as client:
        client.set_label("layer", 0, "before")
        fill(disk / "ballast")
        kept = names(disk)
        refuses_to_store(client, "No space left on device on the server")
        drawn = icons(server.target, "layer")
        assert all(drawn)
        assert icons(server.target, "layer") == drawn
        assert names(disk) == kept, "nothing half-written"
        (disk / "ballast").unlink()
        stores_again(client)


@pytest.mark.promise(
    "STRIATE_HOME becomes read-only while the server runs",
    "what is to be stored ends FAILED_PRECONDITION, and changes of names UNAVAILABLE; the rest is answered, icons too",
)
def test_a_home_that_becomes_read_only(own_disk: OwnDisk) -> None:
    server, disk = own_disk.server, own_disk.seen
    with striate.Client(server.target) as client:
        client.set_label("layer", 0, "before")
        drawn = icons(server.target, "layer")
        client.factorize(PICTURES, "layer", components=2, icons=False, save_as="kept")
        kept = names(disk)
        own_disk.mount(f"mount --bind {own_disk.home}", "mount -o remount,ro,bind")
        with pytest.raises(OSError, match="Read-only file system"):
            (disk / "proof").touch()
        refuses_to_store(client, "Read-only file system on the server")
        with pytest.raises(striate.FailedPrecondition, match="Read-only file system on the server"):
            client.delete_basis("kept")
        assert icons(server.target, "layer") == drawn, "from the store"
        assert len(set(icons(server.target, "layer.0"))) > 1, "rendered, though they cannot be kept"
        assert client.labels("layer")[0].text == "before"
        assert client.factorize(PICTURES[0], basis="kept", icons=False).groups
        assert client.semantic_dictionary(PICTURES[0], "layer", icons=False).predictions
        assert client.activations(PICTURES[0], "layer").predictions
        assert names(disk) == kept
        own_disk.mount("umount")
        client.delete_basis("kept")
        stores_again(client)
    assert not any("Traceback" in line for line in server.log)


def refuses_to_store(client: striate.Client, told: str) -> None:
    """Check that all that would be stored is refused for this reason."""
    with pytest.raises(striate.FailedPrecondition, match=told):
        client.factorize(PICTURES, "layer", components=2, icons=False, save_as="dogs")
    with pytest.raises(striate.FailedPrecondition, match=told):
        list(client.index_examples(LABELLED, ["layer"]))
    with pytest.raises(striate.FailedPrecondition, match=told):
        list(client.build_basis("dogs", PICTURES, "layer", components=2))
    with pytest.raises(striate.Unavailable, match="database does not answer"):
        client.set_label("layer", 1, "after " * 30)


def stores_again(client: striate.Client) -> None:
    """Check that all is stored, and answered, as if nothing had been."""
    client.factorize(PICTURES, "layer", components=2, icons=False, save_as="dogs")
    list(client.index_examples(LABELLED, ["layer"]))
    assert [basis.name for basis in client.bases()] == ["dogs"]
    assert client.labels("layer")[0].text == "before"
    assert client.semantic_dictionary(PICTURES[0], "layer", icons=False).predictions
    assert client.factorize(PICTURES[0], basis="dogs", icons=False).groups
    client.delete_basis("dogs")


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with file.open("wb", buffering=0) as ballast:
        for size in (2**16, 2**12, 1):
            with suppress(OSError):  # no space left
                while ballast.write(bytes(size)):
                    pass


def names(disk: Path) -> set[str]:
    """Return the files on a disk."""
    return {str(file.relative_to(disk)) for file in disk.rglob("*") if file.is_file()}
