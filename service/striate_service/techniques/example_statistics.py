"""Statistics of a layer over a stream of images, in memory that does not grow with the number of images.

Notation: C channels, M classes, K strongest images of a channel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from striate_service.techniques import naming
from striate_service.techniques.quantile_sketch import QuantileSketch

QUANTILES = (0.5, 0.9, 0.99, 0.999)
"""Of a channel's activations over all images and positions."""


class LayerStatistics:
    """Each channel's strongest images, the quantiles of its activations, and its mean peak over the images of a class.

    The same images in the same order give the same statistics, whatever the sizes of the batches.
    """

    def __init__(self, channels: int) -> None:
        self._sketch = QuantileSketch(channels)
        kept = (channels, naming.MOST_IMAGES)
        self.values: NDArray[np.float32] = np.full(kept, -np.inf, np.float32)
        """[C, K]: the peaks of each channel's strongest images, strongest first; -inf: no image yet."""
        self.images: NDArray[np.int64] = np.full(kept, -1, np.int64)
        """[C, K]: the numbers of these images; -1: no image yet."""
        self.positions: NDArray[np.int32] = np.zeros(kept, np.int32)
        """[C, K]: the position of the peak in each, as `natural_examples.peaks` counts."""
        self.labels: NDArray[np.int32] = np.full(kept, -1, np.int32)
        """[C, K]: their classes; -1: unknown."""
        self._least: NDArray[np.float32] = np.full(channels, np.inf, np.float32)
        self._sums: NDArray[np.float64] = np.zeros((channels, 0))
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(
        self,
        images: NDArray[np.int64],
        labels: NDArray[np.int32],
        peaks: NDArray[np.float32],
        positions: NDArray[np.int32],
        bins: NDArray[np.int32],
        counts: NDArray[np.int32],
    ) -> None:
        """Add a batch of N images.

        Args:
            images: [N], their numbers, larger than those of earlier batches.
            labels: [N], the indices of their classes; -1: unknown.
            peaks, positions: [N, C], from `natural_examples.peaks`.
            bins, counts: from `natural_examples.bin_counts`.
        """
        self._sketch.add(bins, counts)
        self._least = np.minimum(self._least, peaks.min(0))
        self._add_to_classes(labels, peaks)
        values = np.concatenate([self.values, peaks.T], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[
            :, : naming.MOST_IMAGES
        ]  # stable: of equal peaks, the earlier image's
        self.values = np.take_along_axis(values, order, 1)
        for kept, new in ((self.images, images), (self.labels, labels), (self.positions, positions.T)):
            merged = np.concatenate([kept, np.broadcast_to(new, peaks.T.shape)], axis=1)
            kept[:] = np.take_along_axis(merged, order, 1)

    def quantiles(self) -> NDArray[np.float32]:
        """Return [C, len(QUANTILES)], accurate to 1% (`quantile_sketch`)."""
        return self._sketch.quantiles(QUANTILES)

    def class_means(self, classes: int) -> NDArray[np.float32]:
        """Return each channel's mean peak over the images of each class: [C, classes]; 0 for a class without images."""
        self._make_room(classes)
        return (self._sums / np.maximum(self._counts, 1)).astype(np.float32)

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        """Return how many images there have been of each class: [classes]."""
        self._make_room(classes)
        return self._counts

    def class_names(self, classes: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return each channel's class and score, as `naming.class_names` does."""
        informative = self.values > self._least[:, None]  # an image at the channel's lowest peak says nothing about it
        return naming.class_names(np.where(informative, self.labels, -1), self.class_counts(classes))

    def strongest(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (channel, rank, image, position) of the `count` strongest images of each channel that excite it."""
        excited = (self.images[:, :count] >= 0) & (self.values[:, :count] > 0)
        for channel, rank in np.argwhere(excited).tolist():
            yield channel, rank, int(self.images[channel, rank]), int(self.positions[channel, rank])

    def _add_to_classes(self, labels: NDArray[np.int32], peaks: NDArray[np.float32]) -> None:
        known = labels >= 0
        if not known.any():
            return
        self._make_room(int(labels.max()) + 1)
        np.add.at(self._counts, labels[known], 1)
        np.add.at(self._sums.T, labels[known], peaks[known])

    def _make_room(self, classes: int) -> None:
        missing = classes - len(self._counts)
        if missing > 0:
            self._counts = np.pad(self._counts, (0, missing))
            self._sums = np.pad(self._sums, ((0, 0), (0, missing)))
