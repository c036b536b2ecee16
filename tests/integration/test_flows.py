"""Groups across layers through the service: each layer's groups are its own, and flows add up."""

from __future__ import annotations

import numpy as np
import pytest
import striate
from striate_service.local import LocalServer

LAYERS = ["mixed3b", "mixed4b", "mixed5b"]


def test_each_layers_groups_are_those_that_it_has_by_itself(client: striate.Client, photos: list[np.ndarray]) -> None:
    found = client.factorize_layers(photos[:2], LAYERS, components=3, classes=2, icons=False)
    assert [flow.influence.shape for flow in found.flows] == [(2, 3, 3), (2, 3, 3)]
    for layer, groups in zip(LAYERS, found.layers, strict=True):
        alone = client.factorize(photos[:2], layer, components=3, classes=2, icons=False)
        assert groups.layer == alone.layer
        np.testing.assert_allclose(groups.spatial, alone.spatial, atol=2e-3 * alone.spatial.max())
        np.testing.assert_allclose(groups.effects, alone.effects, atol=5e-3 * np.abs(alone.effects).max())
        assert groups.classes == alone.classes
        assert groups.groups[0].crops == alone.groups[0].crops
        assert len(groups.overlays) == 2


def test_an_image_feeds_its_groups_alone_as_beside_others(client: striate.Client, photos: list[np.ndarray]) -> None:
    """Nothing of one image flows into another: the numbers of one differ only as its groups do."""
    twice = client.factorize_layers([photos[0], photos[0]], LAYERS[:2], components=3, icons=False)
    np.testing.assert_allclose(
        twice.flows[0].influence[0], twice.flows[0].influence[1], rtol=1e-3, atol=1e-3 * twice.flows[0].influence.max()
    )


def test_the_page_draws_what_feeds_what(client: striate.Client, photo: np.ndarray) -> None:
    page = client.factorize_layers(photo, LAYERS[:2], components=2, icons=False).to_html()
    assert "How groups feed each other" in page
    assert '"kind":"flows"' in page


@pytest.mark.parametrize(
    ("layers", "field"),
    [(["mixed4a"], "layers"), (["mixed4b", "mixed4a"], "layers[1]"), (["mixed4a", "mixed4a"], "layers[1]")],
)
def test_layers_come_in_the_order_in_which_they_compute(
    client: striate.Client, photo: np.ndarray, layers: list[str], field: str
) -> None:
    with pytest.raises(striate.InvalidArgument) as refused:
        client.factorize_layers(photo, layers, icons=False)
    assert field in refused.value.violations


async def test_the_awaited_client_asks_too(server: LocalServer, photo: np.ndarray) -> None:
    async with striate.aio.Client(server.target, timeout=120) as client:
        found = await client.factorize_layers(photo, LAYERS[:2], components=2, icons=False)
    assert len(found.layers) == 2
