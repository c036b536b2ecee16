"""What targets are called, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from striate_service.models.description import ModelDescription
from striate_service.techniques.targets import WHOLE, Area, Box, Embedding, Output, Region, Target


def target_names(model: ModelDescription, targets: Sequence[Target]) -> list[str]:
    """Return what each target is called: "dog", "output 3", "dog in the region", "the best dog box"; no two alike."""
    names = [_name(model, target) for target in targets]
    several, seen = Counter(names), Counter[str]()
    for number, name in enumerate(names):
        seen[name] += 1
        if several[name] > 1:
            names[number] = f"{name} ({seen[name]})"
    return names


def class_names(model: ModelDescription, targets: Sequence[Target]) -> list[str]:
    """Return the class of each target that is a class of the whole image; "" of others, after which no neuron is
    named."""
    return [model.classes[target.index] if model.classes and isinstance(target, Output) else "" for target in targets]


def _name(model: ModelDescription, target: Target) -> str:
    match target:
        case Output(index):
            return model.classes[index] if model.classes else f"output {index}"
        case Embedding():
            return "cosine to the given embedding"
        case Region(index, area):
            return f"{model.target_classes[index]} in the {'image' if area == WHOLE else 'region'}"
        case Box(index, Area()):
            return f"the {model.target_classes[index]} box nearest the area"
        case Box(index, 0):
            return f"the best {model.target_classes[index]} box"
        case Box(index, which):
            return f"the {model.target_classes[index]} box at place {which}"
