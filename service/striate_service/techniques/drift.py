"""Drift: what features of images are distributed otherwise than in a reference, and whether it is more than chance.

A feature is a number of each image: a channel's peak, how much a group is used. For some quantiles of the reference,
the share of images whose feature lies above is compared with that of a window of traffic. The effect is Cohen's h, the
difference of 2 arcsin sqrt(share) (Cohen 1988, chapter 6), whose variance depends on numbers of images alone (Anscombe
1948), so that a feature that is rare and one that is common are measured on one footing.

Whether it is more than chance is calibrated for this number of images: windows of n images are drawn from the reference
itself, whole images, so that features keep their dependence. A feature's p-value is the share of such windows in which
any feature at all differs as much (Westfall and Young 1993, max T): whether anything has drifted is decided by that,
under any dependence between features. Fixed thresholds cannot do so: without any drift the population stability index
exceeds 0.2 in 75% of channels at 30 images and in 7% at 100.

Where something has, which features have is decided by their false discovery rate: the number of features that differ as
much by chance, on average over the same windows, is compared with the number that do (Tusher, Tibshirani and Chu 2001;
Storey and Tibshirani 2003, with all features counted as null, which errs on the safe side).

Notation: n images in the window, N in the reference, F features, B resampled windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.001
"""Of significance: the share of windows without drift in which anything is called significant."""
FALSE_DISCOVERIES = 0.05
"""The share of features, of those that are called significant, that may be so by chance."""
MEDIUM_EFFECT = 0.5
"""Cohen's h of a medium effect: a share of 50% that becomes 74%."""
_RESAMPLED = 4000  # windows: four times 1 / LEVEL
_SHARES = (0.05, 0.2, 0.5, 0.8, 0.95, 0.99)  # quantiles of the reference: the tails are where a concept comes and goes
_SMALLEST, _LARGEST = 1e-4, 1e4  # of features that are told apart: activations of trained networks lie well between
ZERO = 127
"""The code of 0, and of what is as good as 0."""
_SIDE = ZERO  # codes of positive values, and of negative ones
_STEP = np.log(_LARGEST / _SMALLEST) / (_SIDE - 1)
_BINS = 10  # of the population stability index
_GRID = 99  # quantiles that Wasserstein's distance is computed from
_KEPT = 16  # numbers of images whose chance a reference keeps: a window has one, while it fills and by slices more
_WITHOUT_DRIFT = 0.5  # of 0, 0.5, 1 and 2 that which puts the right name first most often (benchmarks/drift.py)
_CHUNK = 256  # resampled windows at a time: bounds memory
_EDGES = np.linspace(0, 12, 1201)  # differences, in standard errors, at which features that differ as much are counted

Codes = NDArray[np.uint8]


def encode(values: NDArray[np.floating]) -> Codes:
    """Return each value's bin: widths grow with the value, to 16% of it, so that one byte holds eight decades.

    Order is kept; NaN counts as 0.
    """
    steps = np.log(np.maximum(np.abs(np.nan_to_num(values, posinf=_LARGEST, neginf=-_LARGEST)), 1e-30) / _SMALLEST)
    magnitudes = np.clip(np.floor(steps / _STEP) + 1, 0, _SIDE)
    codes: Codes = (_SIDE + magnitudes * np.sign(np.nan_to_num(values))).astype(np.uint8)
    return codes


@lru_cache(1)
def decoded() -> NDArray[np.float32]:
    """Return a value of each bin: [256], increasing."""
    positive = _SMALLEST * np.exp(_STEP * (np.arange(_SIDE) + 0.5))
    return np.concatenate([-positive[::-1], [0.0], positive, positive[-1:]]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FeatureDrift:
    """How F features of a window differ from the reference's."""

    effects: NDArray[np.float32]
    """[F]: Cohen's h where it is largest; positive: more images lie above."""
    scores: NDArray[np.float32]
    """[F]: effects in units of what chance explains at this number of images: beyond 1 they are significant."""
    p_values: NDArray[np.float32]
    """[F]: the share of windows without drift in which any feature differs as much; at least 1 / (B + 1)."""
    q_values: NDArray[np.float32]
    """[F]: the share of features that differ by chance, of those that differ as much as this one."""
    before: NDArray[np.float32]
    """[F]: the share of the reference's images above the threshold where the effect is largest."""
    now: NDArray[np.float32]
    """[F]: the window's."""
    enough: bool
    """Whether a medium effect (`MEDIUM_EFFECT`) would be found with so many images."""

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Which features have drifted: none where nothing has, for sure."""
        if self.p_values.min() > LEVEL:
            return np.zeros(len(self.p_values), np.bool_)
        return (self.q_values <= FALSE_DISCOVERIES) | (self.p_values <= LEVEL)


@dataclass(frozen=True, eq=False)
class _Chance:
    """How features differ, in standard errors, in B windows of n images without drift."""

    largest: NDArray[np.float32]
    """[B]: the largest difference of any feature in each, sorted."""
    exceeding: NDArray[np.float64]
    """[_EDGES]: how many features differ by so much and more, on average."""

    def p_values(self, differences: NDArray[np.floating]) -> NDArray[np.floating]:
        beyond = len(self.largest) - np.searchsorted(self.largest, differences, side="left")
        values: NDArray[np.floating] = (beyond + 1) / (len(self.largest) + 1)
        return values

    def q_values(self, differences: NDArray[np.floating]) -> NDArray[np.floating]:
        order = np.argsort(differences)
        by_chance = self.exceeding[np.searchsorted(_EDGES, differences[order], side="right") - 1]
        found = len(differences) - np.searchsorted(differences[order], differences[order], side="left")
        values = np.empty(len(differences))
        # A feature is not less significant than one that differs less.
        values[order] = np.minimum.accumulate(np.minimum(by_chance / found, 1))
        return values


@dataclass(frozen=True, eq=False)
class Reference:
    """The features of N images without drift, and what follows from them."""

    codes: Codes
    """[N, F]"""
    _by_chance: dict[int, _Chance] = field(default_factory=dict, repr=False)
    """By n."""

    def compare(self, window: Codes) -> FeatureDrift:
        """Compare a window [n, F] with the reference. Deterministic.

        Raises:
            ValueError: the window or the reference has no image, or features differ in number.
        """
        if not len(window) or not len(self.codes) or window.shape[1:] != self.codes.shape[1:]:
            raise ValueError(f"{window.shape} cannot be compared with {self.codes.shape}")
        angles, strongest = self._strongest(window)
        scale = np.sqrt(1 / len(window) + 1 / len(self.codes))
        before, now = (_chosen(each, strongest) for each in (self._shares, angles))
        effect = now - before
        chance = self._chance(len(window))
        limit = np.quantile(chance.largest, 1 - LEVEL, method="higher")
        differences = np.abs(effect) / scale
        return FeatureDrift(
            effects=effect.astype(np.float32),
            scores=(differences / limit).astype(np.float32),
            p_values=chance.p_values(differences).astype(np.float32),
            q_values=chance.q_values(differences).astype(np.float32),
            before=_share_of(before),
            now=_share_of(now),
            enough=bool(scale * limit <= MEDIUM_EFFECT),
        )

    def effects(self, window: Codes) -> NDArray[np.float32]:
        """Return Cohen's h of each feature where it is largest: [F]; nothing is said of chance."""
        angles, strongest = self._strongest(window)
        effect: NDArray[np.float32] = (_chosen(angles, strongest) - _chosen(self._shares, strongest)).astype(np.float32)
        return effect

    @cached_property
    def _thresholds(self) -> NDArray[np.uint8]:
        """The codes above which features are counted: [Q, F]."""
        return np.quantile(self.codes, _SHARES, axis=0, method="inverted_cdf").astype(np.uint8)

    @cached_property
    def _shares(self) -> NDArray[np.floating]:
        """The reference's own shares above them, as angles: [Q, F]."""
        return self._angles(self.codes)

    def _angles(self, codes: Codes) -> NDArray[np.floating]:
        return np.stack([_arcsine((codes > limits).sum(0), len(codes)) for limits in self._thresholds])

    def _strongest(self, window: Codes) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        """Return a window's shares, as angles [Q, F], and of each feature the threshold where most differs [1, F]."""
        angles = self._angles(window)
        return angles, np.abs(angles - self._shares).argmax(0)[None]

    def _chance(self, images: int) -> _Chance:
        if images not in self._by_chance:
            self._by_chance[images] = self._resampled(images)
            if len(self._by_chance) > _KEPT:
                del self._by_chance[next(iter(self._by_chance))]
        return self._by_chance[images]

    def _resampled(self, images: int) -> _Chance:
        """Draw windows of the reference's own images by chance."""
        random = np.random.default_rng(images)
        above = [(self.codes > limits).astype(np.float32) for limits in self._thresholds]
        known = self._shares.astype(np.float32)
        largest = np.zeros(_RESAMPLED, np.float32)
        counts = np.zeros(len(_EDGES), np.int64)
        for start in range(0, _RESAMPLED, _CHUNK):
            part = slice(start, min(start + _CHUNK, _RESAMPLED))
            drawn = random.multinomial(images, np.full(len(self.codes), 1 / len(self.codes)), part.stop - part.start)
            differences = np.zeros((part.stop - part.start, self.codes.shape[1]), np.float32)
            for flags, usual in zip(above, known, strict=True):
                angles = _arcsine(drawn.astype(np.float32) @ flags, images)
                np.maximum(differences, np.abs(angles - usual), out=differences)
            differences *= np.sqrt(np.float32(images))
            largest[part] = differences.max(1)
            places = np.searchsorted(_EDGES, differences.ravel(), side="right") - 1
            counts += np.bincount(places, minlength=len(_EDGES))
        return _Chance(np.sort(largest), counts[::-1].cumsum()[::-1] / _RESAMPLED)


def joint_score(scores: Sequence[float]) -> float:
    """Return one score of several features that show the same: their sum by their number and a half more.

    It exceeds no largest score, so that there are no more false alarms than features have. The half draws what rests on
    one feature towards 0: any single one may be drawn along by something else.
    """
    return float(sum(scores) / (len(scores) + _WITHOUT_DRIFT))


def population_stability(reference: Codes, window: Codes) -> NDArray[np.float32]:
    """Return the population stability index of each feature, from ten bins of equal shares of the reference: [F]."""
    edges = np.quantile(reference, np.arange(1, _BINS) / _BINS, axis=0, method="inverted_cdf")
    before, now = (_bin_shares(codes, edges) for codes in (reference, window))
    index: NDArray[np.float32] = ((now - before) * np.log(now / before)).sum(0).astype(np.float32)
    return index


def wasserstein(reference: Codes, window: Codes) -> NDArray[np.float32]:
    """Return Wasserstein's distance of each feature, in the feature's own unit: [F]."""
    shares = (np.arange(_GRID) + 0.5) / _GRID
    before, now = (
        decoded()[np.quantile(codes, shares, axis=0, method="inverted_cdf")] for codes in (reference, window)
    )
    distance: NDArray[np.float32] = np.abs(now - before).mean(0)
    return distance


def standardized_difference(reference: Codes, window: Codes) -> NDArray[np.float32]:
    """Return the difference of each feature's means, in standard deviations of the reference: [F]."""
    before, now = decoded()[reference], decoded()[window]
    difference: NDArray[np.float32] = (now.mean(0) - before.mean(0)) / np.maximum(before.std(0), 1e-12)
    return difference


def _chosen(angles: NDArray[np.floating], thresholds: NDArray[np.intp]) -> NDArray[np.floating]:
    """Return each feature's angle at its own threshold: [F]."""
    chosen: NDArray[np.floating] = np.take_along_axis(angles, thresholds, 0)[0]
    return chosen


def _arcsine(count: NDArray[np.number], images: int) -> NDArray[np.floating]:
    """Return 2 arcsin sqrt(share), with Anscombe's correction for small numbers."""
    angles: NDArray[np.floating] = 2 * np.arcsin(np.sqrt((count + 3 / 8) / (images + 3 / 4)))
    return angles


def _share_of(angle: NDArray[np.floating]) -> NDArray[np.float32]:
    share: NDArray[np.float32] = np.square(np.sin(angle / 2)).astype(np.float32)
    return share


def _bin_shares(codes: Codes, edges: NDArray[np.number]) -> NDArray[np.float64]:
    above = np.stack([np.ones(codes.shape[1]), *((codes > edge).mean(0) for edge in edges), np.zeros(codes.shape[1])])
    shares: NDArray[np.float64] = np.maximum(above[:-1] - above[1:], 0.5 / len(codes))  # an empty one: half an image
    return shares
