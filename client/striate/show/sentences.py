"""What results say in a sentence, the same on pages and in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from striate.results.groups import FactorizationData

_MUCH = 0.5  # of the layer's squared norm: more is left out than explained
_MOST_GROUPS = 16  # that a suggestion names: more would not be read


def image_name(found: FactorizationData, number: int) -> str:
    """Return the name of image `number`'s file, or else its number as people count, if there are several."""
    name = found.views[number].name if found.views else ""
    return name or (f"image {number + 1}" if len(found.overlays) > 1 else "")


def becomes(found: FactorizationData, number: int) -> str:
    """Say what becomes of the first prediction for image `number` where nothing but the groups is left of the layer:
    "golden retriever 88% becomes 85%". Nothing if the server does not say.
    """
    if not found.fidelity:
        return ""
    fidelity, predictions = found.fidelity[number], found.predictions[number]
    another = "" if fidelity.same_top_class else "; another class comes first"
    if not (predictions and fidelity.probabilities):  # an earlier server, or no classes were asked for
        return another.removeprefix("; ") or "the first class stays first"
    (name, probability), then = predictions[0], fidelity.probabilities[0]
    return f"{name} {probability:.0%} becomes {then:.0%}{another}"


def whole_percents(shares: Sequence[float]) -> list[int]:
    """Return shares in whole percents, which add up as the shares do: those that lose most by rounding down are rounded
    up.
    """
    hundreds = [100 * share for share in shares]
    percents = [math.floor(each) for each in hundreds]
    by_loss = sorted(range(len(shares)), key=lambda number: percents[number] - hundreds[number])
    for number in by_loss[: round(sum(hundreds)) - sum(percents)]:
        percents[number] += 1
    return percents


def more_groups(found: FactorizationData) -> int | None:
    """Return how many groups to try where those found leave more out than they explain; None where they do well, or a
    basis says how many there are.
    """
    count = len(found.groups)
    if found.left_out <= _MUCH or found.basis or count >= _MOST_GROUPS:
        return None
    return min(2 * count, _MOST_GROUPS)
