"""Drift is found where it is, and not where it is not, whatever the number of images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from striate_service.techniques import drift

FEATURES = 120


def sample(images: int, seed: int, *, silent: int | None = None, shifted: int | None = None) -> drift.Codes:
    """Draw images as layers are: some channels fire rarely, some always, and all depend on a few common causes.

    Args:
        silent: a channel that fires no more.
        shifted: one that fires more strongly.
    """
    random = np.random.default_rng(seed)
    causes = random.normal(size=(images, 8))
    weights = np.random.default_rng(0).normal(size=(8, FEATURES))
    thresholds = np.random.default_rng(1).uniform(-1, 6, FEATURES)
    values = np.maximum(causes @ weights + random.normal(size=(images, FEATURES)) - thresholds, 0)
    if silent is not None:
        values[:, silent] = 0
    if shifted is not None:
        values[:, shifted] *= 4
    return drift.encode(values)


REFERENCE = drift.Reference(sample(1024, seed=2))
SHARES = (REFERENCE.codes > drift.ZERO).mean(0)


@pytest.mark.parametrize("images", [30, 100, 500])
def test_without_drift_nothing_is_called_significant_more_often_than_it_says(images: int) -> None:
    """Of 200 streams, two or more are flagged by chance once in fifty times; the seeds are fixed."""
    flagged = sum(REFERENCE.compare(sample(images, seed)).significant.any() for seed in range(100, 300))
    assert flagged <= 1


def test_fixed_thresholds_would_call_drift_what_is_chance() -> None:
    stability = drift.population_stability(REFERENCE.codes, sample(30, seed=100))
    assert (stability > 0.2).mean() > 0.5


@pytest.mark.parametrize("share", [0.08, 0.3, 0.6])
def test_a_channel_that_fires_no_more_comes_first(share: float) -> None:
    channel = int(np.abs(SHARES - share).argmin())
    found = REFERENCE.compare(sample(500, seed=7, silent=channel))
    assert found.scores.argmax() == channel
    assert found.significant[channel]
    assert (found.scores > 1).sum() == 1
    assert found.q_values[channel] == found.q_values.min()
    assert found.effects[channel] < 0
    assert found.now[channel] < 0.01 < found.before[channel]
    assert found.enough


def test_a_channel_that_fires_more_strongly_comes_first() -> None:
    channel = int(np.abs(SHARES - 0.6).argmin())
    found = REFERENCE.compare(sample(500, seed=7, shifted=channel))
    assert found.scores.argmax() == channel
    assert found.effects[channel] > 0
    assert found.now[channel] > found.before[channel]


def test_where_something_has_drifted_few_of_what_is_called_so_has_not() -> None:
    changed = np.flatnonzero(SHARES > 0.3)[::2]
    false, found, family_wise = [], 0, 0
    for seed in range(400, 420):
        window = sample(200, seed)
        stronger = drift.decoded()[window[:, changed]] * 1.4
        window[:, changed] = drift.encode(stronger)
        drifted = REFERENCE.compare(window)
        others = drifted.significant.copy()
        others[changed] = False
        false.append(others.sum() / max(drifted.significant.sum(), 1))
        found += int(drifted.significant[changed].sum())
        family_wise += int((drifted.p_values[changed] <= drift.LEVEL).sum())
    assert np.mean(false) <= drift.FALSE_DISCOVERIES
    assert found > 1.5 * family_wise > 0


def test_features_that_show_the_same_count_more_together_than_one_that_is_drawn_along() -> None:
    assert drift.joint_score([1.2, 1.4, 1.1]) > drift.joint_score([1.5])
    assert drift.joint_score([2.0, 2.0]) < 2.0


def test_few_images_are_said_to_be_few() -> None:
    assert not REFERENCE.compare(sample(30, seed=3)).enough
    assert REFERENCE.compare(sample(500, seed=3)).enough


def test_the_same_window_has_the_same_drift() -> None:
    first, again = (drift.Reference(sample(300, seed=2)).compare(sample(60, seed=4)) for _ in range(2))
    np.testing.assert_array_equal(first.p_values, again.p_values)
    np.testing.assert_array_equal(first.q_values, again.q_values)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_codes_keep_the_order_of_values_and_their_size_to_16_percent() -> None:
    values = np.concatenate([-np.logspace(3.9, -3.9, 50), [0.0], np.logspace(-3.9, 3.9, 50)])
    codes = drift.encode(values)
    assert (np.diff(codes.astype(int)) >= 0).all()
    np.testing.assert_allclose(drift.decoded()[codes], values, rtol=0.09, atol=1e-9)
    odd = drift.encode(np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-9]))
    assert drift.decoded()[odd].tolist() == pytest.approx([0, 9227, -9227, 9227, -9227, 0], rel=0.2)


def test_distances_are_those_of_scipy_and_of_the_formula() -> None:
    window = sample(400, seed=9, shifted=0)
    before, now = drift.decoded()[REFERENCE.codes], drift.decoded()[window]
    expected = [wasserstein_distance(before[:, each], now[:, each]) for each in range(FEATURES)]
    np.testing.assert_allclose(drift.wasserstein(REFERENCE.codes, window), expected, atol=0.05, rtol=0.15)
    difference = (now.mean(0) - before.mean(0)) / np.maximum(before.std(0), 1e-12)
    np.testing.assert_allclose(drift.standardized_difference(REFERENCE.codes, window), difference, rtol=1e-4)


def test_a_window_of_other_features_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        REFERENCE.compare(sample(10, seed=0)[:, :5])
    with pytest.raises(ValueError, match="cannot be compared"):
        REFERENCE.compare(sample(10, seed=0)[:0])
