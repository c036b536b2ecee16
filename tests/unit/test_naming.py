"""Names by the classes of what excites a channel, and what is kept of a stream, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import torch
from striate_service.techniques.crops import crop
from striate_service.techniques.example_statistics import QUANTILES, LayerStatistics
from striate_service.techniques.naming import LEAST_SHARE, class_names, soft_wpmi
from striate_service.techniques.natural_examples import bin_counts, peaks
from striate_service.techniques.quantile_sketch import ACCURACY


def clip_dissect(labels: list[int], shares: np.ndarray) -> np.ndarray:
    """The paper's formula, image by image, with p(t | x) from labels (chance where there is none)."""
    count, information = len(labels), np.zeros(len(shares))
    for rank, label in enumerate(labels):
        member = 0.998 - rank / count * (0.998 - 0.97)
        for concept, share in enumerate(shares):
            given = share if label < 0 else float(label == concept)
            information[concept] += math.log(1 + member * (given - 1)) - math.log(1 + member * (share - 1))
    return information


def test_the_measure_is_clip_dissects_with_labels_in_clips_place() -> None:
    rng = np.random.default_rng(0)
    strongest = rng.integers(-1, 4, (5, 30))
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    expected = [clip_dissect(row.tolist(), shares) for row in strongest]
    np.testing.assert_allclose(soft_wpmi(strongest, shares), expected, rtol=1e-9)


def test_a_channel_that_tells_a_class_is_named_and_chance_names_nothing() -> None:
    rng = np.random.default_rng(1)
    counts = np.full(10, 40)
    pure = np.full((1, 40), 7)
    mostly = np.where(rng.random((1, 40)) < 0.8, 3, rng.integers(0, 10, (1, 40)))
    chance = rng.integers(0, 10, (500, 40))
    names, scores = class_names(np.concatenate([pure, mostly, chance]), counts)
    assert names[:2].tolist() == [7, 3]
    assert scores[0] == 1
    assert LEAST_SHARE < scores[1] < 1
    assert (scores[2:] < LEAST_SHARE).all()


def test_a_common_class_must_do_more_than_be_common() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([900, 100])
    as_in_the_folder = (rng.random((200, 100)) < 0.1).astype(int)
    _, scores = class_names(as_in_the_folder, counts)
    assert (scores < LEAST_SHARE).mean() > 0.95


def test_too_few_images_name_nothing() -> None:
    assert class_names(np.zeros((3, 100), int), np.array([4, 4]))[0].tolist() == [-1, -1, -1]
    assert class_names(np.zeros((3, 100), int), np.array([400]))[0].tolist() == [-1, -1, -1], "one class tells nothing"


def stream(maps: torch.Tensor, labels: np.ndarray, batch: int) -> LayerStatistics:
    statistics = LayerStatistics(maps.shape[1])
    for first in range(0, len(maps), batch):
        part = maps[first : first + batch]
        values, positions = (each.numpy() for each in peaks(part))
        numbers = np.arange(first, first + len(part))
        statistics.add(numbers, labels[numbers], values, positions, *(each.numpy() for each in bin_counts(part)))
    return statistics


def test_a_stream_keeps_what_all_images_at_once_would_give() -> None:
    torch.manual_seed(0)
    scales = torch.tensor([0.01, 1.0, 100.0, 5.0, 1.0])[:, None, None]
    maps = torch.randn(300, 5, 6, 7) * scales
    maps[:, 3].relu_()
    maps[:, 4] = 0  # a dead channel
    labels = np.arange(300, dtype=np.int32) % 4
    labels[::10] = -1
    statistics = stream(maps, labels, 16)

    flat = maps.flatten(2)
    order = (-flat.amax(2)).argsort(dim=0, stable=True)[:100].T
    np.testing.assert_array_equal(statistics.images, order)
    np.testing.assert_array_equal(statistics.positions, flat.argmax(2).T.gather(1, order))
    np.testing.assert_array_equal(statistics.labels, labels[order])
    exact = np.quantile(maps.transpose(0, 1).flatten(1).numpy(), QUANTILES, axis=1, method="lower").T
    np.testing.assert_allclose(statistics.quantiles(), exact, rtol=ACCURACY, atol=1e-5)
    means = [flat.amax(2)[labels == number].mean(0).numpy() for number in range(4)]
    np.testing.assert_allclose(statistics.class_means(4), np.stack(means, 1), rtol=1e-5)
    assert statistics.class_counts(4).tolist() == [(labels == number).sum() for number in range(4)]
    assert {channel for channel, *_ in statistics.strongest(5)} == {0, 1, 2, 3}, "nothing excites a dead channel"

    again = stream(maps, labels, 7)
    np.testing.assert_array_equal(again.images, statistics.images)
    np.testing.assert_array_equal(again.quantiles(), statistics.quantiles())


def test_a_channel_that_all_images_excite_alike_is_not_named_by_their_order() -> None:
    maps = torch.ones(200, 2, 3, 3)
    maps[100:, 1] = 2
    names, scores = stream(maps, (np.arange(200) >= 100).astype(np.int32), 50).class_names(2)
    assert scores[0] < LEAST_SHARE
    assert (names[1], scores[1]) == (1, 1)


def test_a_crop_shows_the_position_and_stays_within_the_image() -> None:
    pixels = np.zeros((112, 112, 3), np.uint8)
    pixels[8:16, 96:104] = 255  # the cell of row 1, column 12 of 14
    shown = crop(pixels, 1 * 14 + 12, (14, 14))
    assert shown.shape == (96, 96, 3)
    assert shown.max() == 255
    assert crop(pixels, 13 * 14 + 2, (14, 14)).max() == 0
    whole = crop(pixels, 0, (1, 1))
    assert whole.max() > 200
