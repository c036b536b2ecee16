"""Drift where the truth is known: python benchmarks/drift.py

Of drawn pictures, streams in which one part is missing from all objects, or pictures are spoilt, are compared with a
reference of 2,000, as a monitor does: is the drift found within 500 images, and is the first channel one that
dissection says detects this part? And how often is anything called significant in streams without drift, of 30, 100 and
500 images? The population stability index with its usual threshold of 0.2 stands beside it.

It takes half an hour on two cores, most of it drawing: --reference and --clean make it shorter.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from striate_service.models.embedded import CLASSES, LABELS, WEIGHTS
from striate_service.models.embedded.feed import normalize
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture
from striate_service.techniques import drift, observing
from torch import nn

LAYERS = ("mixed4d", "mixed5b")
WINDOW = 500
SIZES = (30, 100, 500)
MISSING = ("wheel", "window", "eye", "roof", "petal", "dial", "sail", "fin", "leaf", "handle", "snout", "wing")
ANIMALS = ("dog", "cat", "bear", "rabbit", "owl", "bird")
_PSI = 0.2  # "significant" by the usual rule
_BATCH = 64
_REFERENCE, _CHANGED, _CLEAN = 2**33, 2**34, 2**35  # seeds; no training has seen these pictures

Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare drift with the truth of drawn pictures.")
    parser.add_argument("--reference", type=int, default=2000, help="pictures without drift")
    parser.add_argument("--clean", type=int, default=6000, help="fresh pictures that clean streams are drawn from")
    parser.add_argument("--streams", type=int, default=200, help="clean streams of each size")
    parser.add_argument("--processes", type=int, default=2, help="that draw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    network.eval().requires_grad_(False)
    console = Console()
    with ProcessPoolExecutor(options.processes) as pool:

        def pictures(seed: int, count: int, classes: Sequence[str] = CLASSES, without: str = "") -> Pixels:
            wanted = partial(_picture, seed, tuple(classes), frozenset({without} - {""}))
            return np.stack(list(pool.map(wanted, range(count), chunksize=20)))

        sampled = _features(network, pictures(_REFERENCE, options.reference))
        chosen = np.random.default_rng(0).permutation(len(sampled))[:1024]  # as many as a monitor keeps
        reference = drift.Reference(sampled[np.sort(chosen)])
        console.print(kinds_table(network, reference, pictures))
        console.print(clean_table(reference, _features(network, pictures(_CLEAN, options.clean)), options.streams))


def kinds_table(network: nn.Module, reference: drift.Reference, pictures: Callable[..., Pixels]) -> Table:
    """Return a row for each kind of change: whether it is found, and what is first."""
    table = Table("change", "flagged", "channels", "first", "of images, before", "now", "right", title="Changes")
    names, flagged, right, asked = _names(), 0, 0, 0
    usual = pictures(_CHANGED, WINDOW)
    streams: dict[str, tuple[Pixels, str]] = {
        f"no {part}": (pictures(_CHANGED, WINDOW, CLASSES, part), part) for part in MISSING
    }
    streams |= {name: (np.stack([spoil(each) for each in usual]), "") for name, spoil in SPOILT.items()}
    streams["only animals"] = (pictures(_CHANGED, WINDOW, ANIMALS), "")
    for change, (images, part) in streams.items():
        found = reference.compare(_features(network, images))
        first = int(found.scores[: len(names)].argmax())
        is_right = part in names[first] if part else None
        flagged += bool(found.significant.any())
        right += bool(is_right)
        asked += bool(part)
        table.add_row(
            change,
            "yes" if found.significant.any() else "no",
            str(int(found.significant[: len(names)].sum())),
            names[first],
            f"{found.before[first]:.1%}",
            f"{found.now[first]:.1%}",
            "" if is_right is None else "yes" if is_right else "no",
        )
    table.caption = (
        f"{flagged} of {len(streams)} flagged within {WINDOW} images; the right neuron first: {right} of {asked}"
    )
    return table


def clean_table(reference: drift.Reference, pool: drift.Codes, streams: int) -> Table:
    """Return how many streams without drift are flagged, of each size."""
    table = Table("images", "streams", "flagged", "channels with PSI > 0.2", title="Without drift")
    random = np.random.default_rng(1)
    for size in SIZES:
        flagged, above = 0, []
        for _ in range(streams):
            window = pool[random.choice(len(pool), size, replace=False)]
            flagged += bool(reference.compare(window).significant.any())
            if len(above) < 20:
                above.append((drift.population_stability(reference.codes, window)[: len(_names())] > _PSI).mean())
        table.add_row(str(size), str(streams), f"{flagged} ({flagged / streams:.1%})", f"{np.mean(above):.0%}")
    return table


def _picture(seed: int, classes: tuple[str, ...], without: frozenset[str], number: int) -> Pixels:
    return draw(np.random.default_rng([seed, number]), classes[number % len(classes)], without=without).image


def _night(image: Pixels) -> Pixels:
    return (image * np.array([0.22, 0.25, 0.4])).astype(np.uint8)


def _blur(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5)))


def _grey(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def _jpeg(image: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=10)
    return np.asarray(Image.open(buffer))


SPOILT = {"night": _night, "blur": _blur, "grey": _grey, "JPEG of quality 10": _jpeg}


@torch.inference_mode()
def _features(network: nn.Module, images: Pixels) -> drift.Codes:
    """Return what a monitor keeps of images: peaks of the layers' channels, then the rest."""
    rows = []
    for start in range(0, len(images), _BATCH):
        inputs = normalize(torch.from_numpy(images[start : start + _BATCH]))
        maps = capture(network, inputs, list(LAYERS)).layers
        measured = [observing.layer_numbers(maps[layer]) for layer in LAYERS]
        probabilities = network(inputs).softmax(1)
        numbers = [each[0] for each in measured] + [part for each in measured for part in (each[1], each[2][:, None])]
        predicted = nn.functional.one_hot(probabilities.argmax(1), len(CLASSES)) * 2.0
        rows.append(drift.encode(torch.cat([*numbers, probabilities.amax(1, True), predicted], 1).numpy()))
    return np.concatenate(rows)


def _names() -> list[str]:
    """Return what the layers' channels detect, by dissection."""
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["labels"]
    known = {(label["layer"], label["channel"]): label["text"] for label in labels}
    network = parts().eval()
    with torch.inference_mode():
        maps = capture(network, torch.zeros(1, 3, 112, 112), list(LAYERS)).layers
    return [
        f"{layer}:{channel} {known.get((layer, channel), '')}"
        for layer in LAYERS
        for channel in range(maps[layer].shape[1])
    ]


if __name__ == "__main__":
    main()
