"""Factorizations that can be shown."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pillow

from striate.results.groups import FactorizationData, FactorizedLayersData
from striate.show.group_key import draw_key
from striate.show.html import page
from striate.show.pictures import cut_crops, open_overlay


class Factorization(FactorizationData):
    """Neuron groups of some images, by non-negative matrix factorization."""

    def overlay(self, number: int = 0) -> Pillow.Image:
        """Return the groups' colors over image `number`."""
        return open_overlay(self, number)

    def key(self) -> Pillow.Image:
        """Return what the colors of `overlay` stand for: a row a group with its color, icon, name and share."""
        return draw_key(self.groups, self.shares.tolist())

    def crops(self, k: int) -> list[Pillow.Image]:
        """Return the places where group `k` is strongest, cut out of the images; none of preprocessed images."""
        return cut_crops(self, k)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        return page(_title(self) or (self.layer.name if self.layer else "activations"), [self], path)


class FactorizedLayers(FactorizedLayersData):
    """The groups of several layers of the same images."""

    layers: list[Factorization]

    def to_html(self, path: str | Path | None = None) -> str:
        """Return an interactive page that needs nothing else, and write it to `path`."""
        layers = " to ".join(each.layer.name for each in self.layers if each.layer)
        return page(_title(self.layers[0]) or layers, [self, *self.layers], path)


def _title(found: FactorizationData) -> str:
    """Return the names of the images' files, as far as a title goes."""
    first, *others = [view.name for view in found.views] or [""]
    return f"{first} and {len(others)} more" if first and others else first
