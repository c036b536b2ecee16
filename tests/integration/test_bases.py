"""Bases through the service: the same groups tomorrow, never on other weights, in a folder that servers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import striate
import torch
from conftest import settings
from scipy.optimize import nnls
from striate_service.local import LocalServer
from striate_service.models.embedded.network import parts


@pytest.fixture
def name(client: striate.Client, photos: list[np.ndarray]) -> Iterator[str]:
    """A basis of the two photographs, while the test runs."""
    client.factorize(photos[:2], "mixed4a", components=4, save_as="two-photos", icons=False)
    yield "two-photos"
    client.delete_basis("two-photos")


def test_tomorrows_images_are_explained_by_the_same_groups(
    client: striate.Client, photos: list[np.ndarray], name: str
) -> None:
    saved = client.basis(name, icons=False)
    found = client.factorize(photos[2:4], basis=name, icons=False)
    assert saved.directions is not None
    np.testing.assert_array_equal(found.directions, saved.directions)
    activations = client.activations(photos[2:4], "mixed4a")["mixed4a"].transpose(0, 2, 3, 1)
    rng = np.random.default_rng(0)
    scale = float(found.spatial.max())
    for image, row, column in rng.integers((2, 14, 14), size=(40, 3)):
        expected, _ = nnls(saved.directions.T.astype(np.float64), activations[image, row, column].astype(np.float64))
        np.testing.assert_allclose(found.spatial[image, row, column], expected, atol=2e-3 * scale)
    x = activations.reshape(-1, activations.shape[-1])
    error = np.linalg.norm(x - found.spatial.reshape(len(x), -1) @ found.directions) / np.linalg.norm(x)
    assert found.relative_error == pytest.approx(error, rel=1e-3)
    assert found.basis == name


def test_a_group_keeps_its_place_its_color_and_its_strength(
    client: striate.Client, photos: list[np.ndarray], name: str
) -> None:
    first = client.factorize(photos[:2], "mixed4a", components=4, icons=False)
    again = client.factorize(photos[:2], basis=name, icons=False)
    other = client.factorize(photos[3], basis=name, icons=False)
    assert [group.color for group in again.groups] == [group.color for group in first.groups]
    assert [group.channels for group in other.groups] == [group.channels for group in first.groups]
    np.testing.assert_allclose(again.spatial, first.spatial, atol=0.02 * first.spatial.max())
    alone = client.factorize(photos[0], basis=name, icons=False)
    np.testing.assert_allclose(alone.spatial[0], again.spatial[0], atol=1e-4 * again.spatial.max())


def test_bases_are_listed_fetched_and_deleted(client: striate.Client, photo: np.ndarray, name: str) -> None:
    client.factorize(photo, "mixed5b", components=2, save_as="another", icons=False)
    listed = {basis.name: basis for basis in client.bases(model="parts")}
    assert (listed["another"].layer, listed["another"].components, listed["another"].image_count) == ("mixed5b", 2, 1)
    assert listed[name].model.version == client.model("parts").version
    assert listed[name].groups == []
    fetched = client.basis(name, icons=False)
    assert len(fetched.groups) == 4
    assert fetched.directions is not None
    assert fetched.groups[0].channels[0] == fetched.directions[0].argmax()
    client.delete_basis("another")
    with pytest.raises(striate.NotFound, match=f"another.*{name}"):
        client.basis("another")


def test_a_name_is_never_taken_over(client: striate.Client, photos: list[np.ndarray], name: str) -> None:
    client.factorize(photos[:2], "mixed4a", components=4, save_as=name, icons=False)  # the same groups
    with pytest.raises(striate.AlreadyExists, match="delete it first"):
        client.factorize(photos[2], "mixed4a", components=4, save_as=name, icons=False)


@pytest.mark.parametrize("hostile", ["../ears", "a/b", ".hidden", "", "x" * 65, "ears\n", "nö"])
def test_names_that_could_lead_elsewhere_are_refused(client: striate.Client, photo: np.ndarray, hostile: str) -> None:
    with pytest.raises(striate.InvalidArgument, match="letters, digits"):
        client.basis(hostile)
    if hostile:
        with pytest.raises(striate.InvalidArgument) as refused:
            client.factorize(photo, "mixed4a", save_as=hostile, icons=False)
        assert "save_as" in refused.value.violations


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"layer": "mixed4b", "basis": "two-photos"}, "images.layer"),
        ({"basis": "two-photos", "components": 5}, "components"),
        ({"basis": "two-photos", "save_as": "copy"}, "save_as"),
        ({"layer": "mixed4a", "components": 400}, "components"),
        ({"layer": "mixed4a", "sobol_points": 1000}, "sobol_points"),
        ({"layer": "mixed4a", "sobol_points": 8, "classes": 0}, "sobol_points"),
    ],
)
def test_what_does_not_go_together_is_named(
    client: striate.Client, photo: np.ndarray, name: str, arguments: dict[str, object], field: str
) -> None:
    with pytest.raises(striate.InvalidArgument) as refused:
        client.factorize(photo, **arguments, icons=False)  # type: ignore[arg-type]
    assert field in refused.value.violations


def test_activations_from_elsewhere_have_no_weights_to_keep_a_basis_for(client: striate.Client, name: str) -> None:
    activations = np.ones((1, 160, 3, 3), np.float32)
    for arguments in ({"save_as": "mine"}, {"basis": name}, {"sobol_points": 8}):
        with pytest.raises(striate.InvalidArgument, match="needs images"):
            client.factorize(activations=activations, components=1, **arguments)  # type: ignore[arg-type]


def test_other_weights_are_refused_and_servers_share_a_folder(
    client: striate.Client, home: Path, tmp_path: Path, photo: np.ndarray, name: str
) -> None:
    torch.save(parts().state_dict(), tmp_path / "untrained.pth")
    untrained = settings(home, devices=("cpu",), models=[f"untrained=parts:{tmp_path / 'untrained.pth'}"])
    version = client.model("parts").version
    with LocalServer(untrained) as server, striate.Client(server.target) as stranger:
        for model in ("", "untrained"):
            with pytest.raises(striate.FailedPrecondition, match=f"belongs to version {version} of parts"):
                stranger.factorize(photo, basis=name, model=model, icons=False)
        shown = stranger.basis(name)
        assert [group.icon_file.status for group in shown.groups] == ["not_requested"] * 4
        stranger.factorize(photo, "mixed4a", components=2, save_as="strangers", icons=False)
    with pytest.raises(striate.FailedPrecondition, match="this server serves no model of that version"):
        client.factorize(photo, basis="strangers", icons=False)
    client.delete_basis("strangers")


async def test_the_awaited_client_keeps_bases_too(server: LocalServer, photo: np.ndarray) -> None:
    async with striate.aio.Client(server.target, timeout=120) as client:
        await client.factorize(photo, "mixed4a", components=2, save_as="awaited", icons=False)
        assert "awaited" in [basis.name for basis in await client.bases()]
        found = await client.factorize(photo, basis="awaited", icons=False)
        basis = await client.basis("awaited", icons=False)
        await client.delete_basis("awaited")
    assert basis.directions is not None
    np.testing.assert_array_equal(found.directions, basis.directions)
