"""What groups of neurons show about an image, in words: a page may open with it."""

from __future__ import annotations

from pathlib import Path

from striate.results.groups import FactorizationData, Group

_LEAST_TOLD = 0.1  # of an effect, in logits: it is told to one digit
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def findings(name: str, found: FactorizationData) -> str:
    """Say in a few sentences what the network predicts for one image, how much of a layer its groups explain, and which
    of them speak most for and against the prediction.

    Args:
        name: the image's.
    """
    model = found.model.name if found.model else "the network"
    layer = found.layer.name if found.layer else "the layer"
    count = len(found.groups)
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    explained = 1 - found.relative_error**2
    explain = "group of neurons explains" if count == 1 else "groups of neurons explain"
    groups = f"{number.capitalize()} {explain} {explained:.0%} of its layer {layer}."
    if not (found.predictions and found.predictions[0] and found.groups):
        return f"{Path(name).name}: {groups}"
    said, probability = found.predictions[0][0]
    return f"{Path(name).name}: {model} says {said} {probability:.0%}. {groups} {_for_and_against(found, said)}".strip()


def _for_and_against(found: FactorizationData, said: str) -> str:
    """Name the groups that push a class most and least, where their effects on it are known."""
    effects = {k: group.effects[said] for k, group in enumerate(found.groups) if said in group.effects}
    if not effects:
        return ""
    best, worst = max(effects, key=effects.__getitem__), min(effects, key=effects.__getitem__)
    told = [
        f"most {side} {said} speaks {_called(found.groups, k)}, {effects[k]:+.1f}"
        for side, k, push in (("for", best, effects[best]), ("against", worst, -effects[worst]))
        if push >= _LEAST_TOLD
    ]
    sentence = "; ".join(told)
    return f"{sentence[:1].upper()}{sentence[1:]}." if told else ""


def _called(groups: list[Group], k: int) -> str:
    return f"group {k + 1} ({groups[k].name})"
