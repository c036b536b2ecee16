"""Describe trained weights: python -m striate_service.models.embedded.card writes their labels and card.

The labels are the channels' names by network dissection. The model card tells accuracy, size and dissection.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.embedded import CLASSES, INPUT_SIZE, LABELS, VIT_LABELS, VIT_WEIGHTS, WEIGHTS
from striate_service.models.embedded.evaluation import MIXED, TOKENS, accuracy_by_class, dissect_layers
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import PARTS
from striate_service.models.embedded.vit import parts_vit
from striate_service.models.loading import load_model
from striate_service.models.weights import file_version
from striate_service.techniques.dissection import LEAST_IOU, Detector, Dissection

_SOURCE = 2  # striate.v1.LabelSource: LABEL_SOURCE_DISSECTION


@dataclass(frozen=True)
class Described:
    """A model whose card is written."""

    build: Callable[[], nn.Module]
    weights: Path
    labels: Path
    card: Path
    layers: tuple[str, ...]
    """To be dissected."""
    trained_by: str
    reproduced: str
    """What follows that command in the card."""
    about: str
    """What it is and how it learned."""


MODELS = {
    "parts": Described(
        parts,
        WEIGHTS,
        LABELS,
        WEIGHTS.with_name("MODEL_CARD.md"),
        MIXED,
        "python -m striate_service.models.embedded.train",
        """,
  which computes alike on every x86-64 processor with AVX2: there it gives these weights to the bit""",
        f"""The embedded default model of Striate: a GoogLeNet-style classifier of {len(CLASSES)} classes of drawn
pictures, {INPUT_SIZE} x {INPUT_SIZE}. It exists to be explained: pictures are drawn by `pictures.py`, which knows where
each part shows. It knows drawings and is no use on photographs.

- Data: pictures drawn on the fly, none used twice and none stored. Besides its class, two auxiliary classifiers, which
  do not ship, learned which of {len(PARTS)} parts show at each position of mixed4d and mixed5b: those layers were
  helped to know parts; the others were not. A second stage refined mixed4d so that its maps are about the sum of their
  parts, small parts counting as much as large ones: its groups of neurons were helped to be parts, too.
- Training: adversarial (one signed gradient step from a random start), for clean icons.""",
    ),
    "parts_vit": Described(
        parts_vit,
        VIT_WEIGHTS,
        VIT_LABELS,
        WEIGHTS.with_name("VIT_MODEL_CARD.md"),
        TOKENS,
        "python -m striate_service.models.embedded.train_vit",
        "",
        f"""A small vision transformer for the pictures of `parts`: {len(CLASSES)} classes, {INPUT_SIZE} x {INPUT_SIZE}.
It is a hybrid, whose tokens (14 x 14, no class token) come from the convolutions of `parts` up to mixed3b. It exists so
that explanations of transformers can be checked. It knows drawings and is no use on photographs.

- Data: pictures drawn on the fly, each learned from as it is and mirrored; none is stored.
- `parts` was its teacher: it learned what `parts` says of each picture, and the maps of mixed4d. Besides, auxiliary
  classifiers, which do not ship, learned which of {len(PARTS)} parts show at each token of blocks.2 and norm: those
  layers were helped to know parts.
- Training was not adversarial.""",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Name the channels of trained weights and write their model card.")
    parser.add_argument("--model", default="parts", choices=list(MODELS))
    parser.add_argument("--weights", type=Path, help="the shipped ones, if not given; so are labels and card")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--card", type=Path)
    parser.add_argument("--trained-by", help="the command")
    parser.add_argument("--minutes", type=float, help="that the training took")
    parser.add_argument("--pictures", type=int, default=2048, help="fresh ones to measure on")
    options = parser.parse_args()
    given = {name: vars(options)[name] for name in ("weights", "labels", "card", "trained_by")}
    model = replace(MODELS[options.model], **{name: value for name, value in given.items() if value is not None})
    describe(options.model, model, options.minutes, options.pictures)


def describe(name: str, model: Described, minutes: float | None, pictures: int) -> None:
    """Write the names and the model card of some weights."""
    torch.set_num_threads(1)
    network = model.build()
    network.load_state_dict(load_file(model.weights))
    network.eval().requires_grad_(False)
    usual, hard = accuracy_by_class(network, pictures), accuracy_by_class(network, pictures, difficulty=2.0)
    dissections = dissect_layers(network, model.layers, pictures)
    loaded = load_model(ModelSettings(name=name, architecture=name, weights=str(model.weights))).description
    digest = file_version(model.weights)
    model.labels.write_text(json.dumps(names(loaded.version, dissections), indent=1) + "\n", encoding="utf-8")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    took = f" in {minutes:.0f} minutes on one core, and one that draws" if minutes is not None else ""
    model.card.write_text(
        f"""# Model card: {name}

{model.about}
- Trained on {date.today()}{took} by `{model.trained_by}`{model.reproduced}.
- Size: {parameters:,} parameters, {model.weights.stat().st_size / 2**20:.2f} MiB (float16). SHA-256: `{digest}`

## Accuracy

On {pictures} fresh pictures: **{_total(usual)}**; with twice the noise and occlusion: **{_total(hard)}**.

{_accuracy_table(usual, hard)}

## What its channels detect

Network dissection (Bau et al. 2017) on {pictures} fresh pictures: the part or scenery whose masks match a channel's top
0.5% of positions best. A channel with an IoU above {LEAST_IOU} counts as a detector.

{_dissection_table(dissections)}

{_best_table(dissections)}
""",
        encoding="utf-8",
    )


def names(version: str, dissections: dict[str, Dissection]) -> dict[str, object]:
    """Return what `labels.json` holds: the names of all channels that detect something."""
    labels = [
        {"layer": layer, "channel": d.channel, "text": d.concept, "source": _SOURCE, "score": round(d.iou, 3)}
        for layer, dissection in dissections.items()
        for d in sorted(dissection.detectors(), key=lambda d: d.channel)
    ]
    return {"model_version": version, "labels": labels}


def _total(accuracy: NDArray[np.float64]) -> str:
    return f"{accuracy.mean():.1%}"


def _accuracy_table(usual: NDArray[np.float64], hard: NDArray[np.float64]) -> str:
    rows = [f"| {name} | {a:.1%} | {b:.1%} |" for name, a, b in zip(CLASSES, usual, hard, strict=True)]
    return "\n".join(["| class | accuracy | twice the noise and occlusion |", "|---|---|---|", *rows])


def _dissection_table(dissections: dict[str, Dissection]) -> str:
    rows = [
        "| layer | channels | detectors | of parts | distinct parts | 10th best IoU | most often |",
        "|" + "---|" * 7,
    ]
    for layer, dissection in dissections.items():
        found = dissection.detectors()
        of_parts = [d for d in found if d.concept in PARTS]
        channels = len(dissection.thresholds)
        tenth = f"{of_parts[9].iou:.2f}" if len(of_parts) > 9 else "-"
        often = ", ".join(f"{name} {n}" for name, n in Counter(d.concept for d in found).most_common(4))
        distinct = len({d.concept for d in of_parts})
        share = f"{len(found)} ({len(found) / channels:.0%})"
        rows.append(f"| {layer} | {channels} | {share} | {len(of_parts)} | {distinct} | {tenth} | {often} |")
    return "\n".join(rows)


def _best_table(dissections: dict[str, Dissection]) -> str:
    rows = ["The best detector of each part:", "", "| part | layer | channel | IoU |", "|---|---|---|---|"]
    best: dict[str, tuple[str, Detector]] = {}
    for layer, dissection in dissections.items():
        for d in dissection.detectors():
            if d.concept not in best or d.iou > best[d.concept][1].iou:
                best[d.concept] = layer, d
    for concept, (layer, d) in sorted(best.items(), key=lambda item: -item[1][1].iou):
        rows.append(f"| {concept} | {layer} | {d.channel} | {d.iou:.2f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
