"""What monitors have seen, and what has drifted."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from PIL import Image as Pillow

from striate.results.icons import Icon, Illustrated
from striate.results.models import Model
from striate.results.neurons import Label
from striate.results.shown import Shown


@dataclass(frozen=True)
class Monitor(Shown):
    """What compares the images of traffic with a reference."""

    name: str
    model: Model = field(repr=False)
    layers: tuple[str, ...]
    """Paths."""
    bases: tuple[str, ...]
    window: int
    """How many of the newest images of traffic are compared."""
    reference_from_traffic: int
    """So many first images of traffic become the reference."""
    pictures: bool
    """Whether small pictures are kept."""
    created: datetime
    """UTC."""
    reference_images: int
    """Taken in."""
    observed_images: int
    last_observed: datetime | None
    """UTC. None: no image of traffic has been."""


@dataclass(frozen=True)
class Profile(Shown):
    """What a monitor keeps of images: `write_profile` and `read_profile` keep it as a file."""

    model: Model = field(repr=False)
    layers: tuple[str, ...]
    """Paths."""
    bases: tuple[str, ...]
    reference_images: int
    """At most 1024: a sample of all that were sent."""
    window_images: int
    """The newest of traffic."""
    data: bytes = field(repr=False)
    """The file."""


@dataclass(frozen=True)
class ObserveProgress(Shown):
    """How far a stream of images to a monitor is."""

    stored: int
    """Images that the server keeps now, and would after a crash."""
    repeated: int
    """Of them, those that it had before."""
    skipped: list[tuple[str, str]]
    """(id or number, why) of images that could not be read, since the last report."""


@dataclass(frozen=True)
class Change(Shown):
    """How one number of each image is distributed in traffic, beside the reference."""

    score: float
    """The effect in units of what chance explains with so many images: beyond 1 it is significant."""
    significant: bool
    """No more than one window of a thousand without drift has anything called significant in it; where something is,
    about 5 % of what is called so, on average, differs by chance."""
    p_value: float
    """The share of windows without drift in which anything at all differs as much (Westfall and Young 1993)."""
    effect: float
    """Cohen's h where it is largest; positive: more images lie above a threshold of the reference."""
    before: float
    """The share of the reference's images that lie above it."""
    now: float
    """That of traffic's."""
    standardized_difference: float
    """Of the means, in standard deviations of the reference."""
    population_stability: float
    """The population stability index over ten bins. Without drift it grows as images get fewer."""
    wasserstein: float
    """Wasserstein's distance, in the number's own unit."""
    q_value: float
    """The false discovery rate: the share of numbers that differ by chance, of those that differ as much as this one
    (Storey and Tibshirani 2003)."""


@dataclass(frozen=True)
class _Drifted(Shown):
    change: Change = field(repr=False)

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def score(self) -> float:
        """Beyond 1 the drift is more than chance explains."""
        return self.change.score

    @property
    def significant(self) -> bool:
        """Whether the drift is more than chance explains."""
        return self.change.significant

    @property
    def p_value(self) -> float:
        """The share of windows without drift in which anything at all differs as much."""
        return self.change.p_value

    @property
    def q_value(self) -> float:
        """The share of numbers that differ by chance, of those that differ as much."""
        return self.change.q_value


@dataclass(frozen=True)
class _Pictured(_Drifted):
    label: Label
    icon_file: Icon = field(repr=False)
    reference_files: list[bytes] = field(repr=False)
    """WebP files: the images of the reference that excite it most."""
    window_files: list[bytes] = field(repr=False)
    """The same of traffic."""
    slices: dict[str, float]
    """Cohen's h by slice, where it is worst first."""

    @property
    def icon(self) -> Pillow.Image | None:
        """What excites it; None while it is not rendered."""
        return self.icon_file.image

    @property
    def reference_pictures(self) -> list[Pillow.Image]:
        return [Pillow.open(io.BytesIO(each)) for each in self.reference_files]

    @property
    def window_pictures(self) -> list[Pillow.Image]:
        return [Pillow.open(io.BytesIO(each)) for each in self.window_files]


@dataclass(frozen=True)
class ChannelDrift(_Pictured):
    """How often a channel is excited."""

    layer: str
    channel: int
    mean: bool
    """It is the mean over positions that drifted most, not the peak."""

    @property
    def name(self) -> str:
        """The label's text, or else the channel's number."""
        return self.label.text or f"channel {self.channel}"


@dataclass(frozen=True)
class ConceptDrift(Shown):
    """The channels of one name, of all layers: together they tell which part of images has changed."""

    name: str
    score: float
    """The sum of its channels' scores by their number and a half more. Beyond 1 it is more than chance explains."""
    significant: bool
    channels: int
    """How many bear the name."""
    most_drifted: ChannelDrift

    @property
    def change(self) -> Change:
        """That of its most drifted channel."""
        return self.most_drifted.change


@dataclass(frozen=True)
class GroupDrift(_Pictured):
    """How much a group of a basis is used."""

    basis: str
    group: int
    dominant_images: int
    """Images of traffic that use this group more than any other of the basis."""
    outcomes: int
    """Of how many of them the outcome is known."""
    accuracy: float
    """The share of these that was predicted right; NaN where none is known."""

    @property
    def name(self) -> str:
        """The label's text, or else the group's number."""
        return self.label.text or f"group {self.group}"


@dataclass(frozen=True)
class ClassDrift(_Drifted):
    """How often a class is predicted."""

    class_name: str

    @property
    def name(self) -> str:
        return self.class_name


@dataclass(frozen=True)
class LayerDrift(Shown):
    """A layer: the largest of its channels."""

    name: str
    score: float
    significant_channels: int
    dead_channels: int
    """Channels that no image of traffic excites."""
    newly_dead_channels: int
    """Of them, those that some image of the reference did."""
    saturated_channels: int
    """Channels at the upper end of their activation function in half of traffic's images or more: their mean over
    positions is, to 16 to 30 %, the layer's largest activation (Glorot and Bengio 2010)."""
    newly_saturated_channels: int
    """Of them, those that were not in the reference."""
    sparsity: Change = field(repr=False)
    """The share of activations that are not positive."""

    @property
    def significant(self) -> bool:
        """Whether any of its channels has drifted."""
        return self.significant_channels > 0


@dataclass(frozen=True)
class BasisDrift(_Drifted):
    """What no group of a basis explains: its novelty."""

    basis: str
    layer: str
    novelty_before: float
    """The mean share of an image's squared activations, in the reference."""
    novelty_now: float

    @property
    def name(self) -> str:
        return self.basis


@dataclass(frozen=True)
class SliceSummary(Shown):
    """Images of traffic of one slice."""

    name: str
    images: int
    outcomes: int
    """Of them, those whose outcomes are known."""
    accuracy: float
    """The share of these that were predicted rightly; NaN where none are known."""


@dataclass(frozen=True)
class DriftData(Illustrated):
    """What the network sees in traffic, beside the reference. All lists are most drifted first."""

    monitor: Monitor
    images: int
    """Of traffic, that are compared."""
    reference_images: int
    enough: bool
    """A change of medium size would have been found with so many images (a share of 50% that becomes 74%)."""
    significant: bool
    """Anything is."""
    layers: list[LayerDrift]
    bases: list[BasisDrift]
    channels: list[ChannelDrift] = field(repr=False)
    groups: list[GroupDrift] = field(repr=False)
    classes: list[ClassDrift] = field(repr=False)
    confidence: Change | None
    """Of the predicted class; None for a model without classes."""
    slices: list[SliceSummary]
    concepts: list[ConceptDrift] = field(default_factory=list, repr=False)
    """What channels are named after. It tells most often what has changed: begin here."""

    @property
    def icons(self) -> list[Icon]:
        """Groups' before concepts' and channels'."""
        most_drifted = [each.most_drifted for each in self.concepts]
        return [each.icon_file for each in (*self.groups, *most_drifted, *self.channels)]

    def to_frame(self) -> Any:
        """Return a pandas.DataFrame of a row for each concept, group, channel, basis and class.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        drifted: tuple[tuple[str, str, Any], ...] = (
            *(("concept", self.monitor.model.name, each) for each in self.concepts),
            *(("group", each.basis, each) for each in self.groups),
            *(("channel", each.layer, each) for each in self.channels),
            *(("novelty", each.layer, each) for each in self.bases),
            *(("class", self.monitor.model.name, each) for each in self.classes),
        )
        rows = [
            {"kind": kind, "of": of, "name": each.name, **vars(each.change), "score": each.score}
            for kind, of, each in drifted
        ]
        return pandas.DataFrame(rows)
