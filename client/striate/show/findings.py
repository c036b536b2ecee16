"""What groups of neurons show about an image, in words: a page may open with it."""

from __future__ import annotations

from striate.results.groups import FactorizationData, Group

_LEAST_TOLD = 0.1  # of an effect, in logits: it is told to one digit
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def findings(name: str, *layers: FactorizationData) -> str:
    """Say in a few sentences what the network predicts for an image, how much of each layer its groups explain, and
    which of them speak most for and against the prediction.

    Args:
        name: the image's.
        layers: factorizations of this one image.
    """
    first = layers[0]
    predictions = first.predictions[0] if first.predictions else []
    model = first.model.name if first.model else "the network"
    said = f"{model} says {predictions[0][0]} {predictions[0][1]:.0%}. " if predictions else ""
    return f"{name}: {said}{' '.join(_explained(each) for each in layers)}"


def _explained(found: FactorizationData) -> str:
    count = len(found.groups)
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    groups = "group of neurons explains" if count == 1 else "groups of neurons explain"
    layer = f"its layer {found.layer.name}" if found.layer else "the layer"
    sentence = f"{number.capitalize()} {groups} {1 - found.relative_error**2:.0%} of {layer}."
    predictions = found.predictions[0] if found.predictions else []
    against = _for_and_against(found, predictions[0][0]) if predictions else ""
    return f"{sentence} {against}" if against else sentence


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
