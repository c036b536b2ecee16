"""Drift where the truth is known: python benchmarks/drift.py

Of drawn pictures, streams in which one part is missing from all objects, or classes are mixed otherwise, or pictures
are spoilt, are compared with a reference, as a monitor does. A stream is what one camera sees: some classes, not all.
Is the drift found within 500 images, and is what drifted first the part that is missing? First of the concepts
(channels of one name, as GetDrift joins them) and first of single channels, by the names that dissection gave. And how
often is anything called significant in streams without drift, of 30, 100 and 500 images? The population stability index
with its usual threshold of 0.2 stands beside it.

--photos FOLDER --weights FILE does the same with crops of photographs and the original GoogLeNet. --cost measures what
watching adds to a forward, and what is kept.

It takes a quarter of an hour on two cores, most of it drawing: --reference, --window and --clean make it shorter.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from striate_service.config import ModelSettings
from striate_service.models.embedded import CLASSES, LABELS, WEIGHTS
from striate_service.models.embedded.feed import normalize
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import draw
from striate_service.models.layers import capture
from striate_service.models.loading import load_model
from striate_service.stores.observations import REFERENCE_IMAGES
from striate_service.techniques import drift, observing
from torch import Tensor, nn

LAYERS = ("mixed4d", "mixed5b")
SIZES = (30, 100, 500)
CAMERAS = {
    "animals": ("dog", "cat", "bear", "rabbit", "owl", "bird"),
    "dogs": ("dog",),
    "vehicles": ("car", "bus", "truck", "bicycle"),
    "buildings": ("house", "church"),
    "plants": ("tree", "flower"),
    "things": ("cup", "teapot", "clock"),
    "water": ("boat", "fish"),
    "all": CLASSES,
}
MISSING = {
    "animals": ("eye", "snout", "long ear", "pointed ear", "wing"),
    "dogs": ("floppy ear",),
    "vehicles": ("wheel", "window"),
    "buildings": ("roof", "door"),
    "plants": ("petal", "trunk"),
    "things": ("dial", "lid", "rim", "spout"),
    "water": ("sail", "fin", "hull"),
    "all": ("wheel", "floppy ear"),
}
"""Parts that some channel is named after: of others, such as a beak, no name can come first."""
MORE_DOGS = (*CLASSES, *("dog",) * 5)
_PSI = 0.2  # "significant" by the usual rule
_BATCH = 64
_REFERENCE, _CHANGED, _CLEAN = 2**38, 2**39, 2**40  # seeds that no training has seen, nor `drift`'s constants
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_CROP = 224

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Stream:
    """What one camera sees after a change."""

    camera: str
    change: str
    truth: str
    """The part that is missing, or the class that is more frequent; empty: none is to be named."""
    pixels: Pixels


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare drift with the truth of drawn pictures.")
    parser.add_argument("--reference", type=int, default=2000, help="pictures without drift, of each camera")
    parser.add_argument("--window", type=int, default=500, help="pictures of a stream with a change")
    parser.add_argument("--clean", type=int, default=6000, help="fresh pictures that clean streams are drawn from")
    parser.add_argument("--streams", type=int, default=200, help="clean streams of each size")
    parser.add_argument("--processes", type=int, default=2, help="that draw")
    parser.add_argument("--photos", type=Path, help="instead: a folder of photographs")
    parser.add_argument("--weights", type=Path, help="of googlenet_bvlc")
    parser.add_argument("--cost", action="store_true", help="instead: what watching costs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    if options.cost:
        console.print(cost_table())
    elif options.photos:
        console.print(photographs_table(options.photos, options.weights, options.reference, options.window))
    else:
        with ProcessPoolExecutor(options.processes) as pool:
            for table in drawn_tables(pool, options):
                console.print(table)


def drawn_tables(pool: Executor, options: argparse.Namespace) -> Iterator[Table]:
    """Yield what is found of changes, and of streams without any."""
    network = _network()
    references = {}
    for camera, classes in CAMERAS.items():
        sampled = _features(network, _pictures(pool, _REFERENCE, options.reference, classes))
        chosen = np.random.default_rng(0).permutation(len(sampled))[:REFERENCE_IMAGES]  # as a monitor does
        references[camera] = drift.Reference(sampled[np.sort(chosen)])
    yield kinds_table(network, references, _streams(pool, options.window))
    clean = _features(network, _pictures(pool, _CLEAN, options.clean, CLASSES))
    yield clean_table(references["all"], clean, options.streams)


def _streams(pool: Executor, window: int) -> Iterator[Stream]:
    for camera, missing in MISSING.items():
        for part in missing:
            pixels = _pictures(pool, _CHANGED, window, CAMERAS[camera], part)
            yield Stream(camera, f"no {part}", part, pixels)
    yield Stream("all", "six times as many dogs", "dog", _pictures(pool, _CHANGED, window, MORE_DOGS))
    usual = _pictures(pool, _CHANGED, window, CAMERAS["vehicles"])
    for name, spoil in SPOILT.items():
        yield Stream("vehicles", name, "", np.stack([spoil(each) for each in usual]))


def kinds_table(network: nn.Module, references: dict[str, drift.Reference], streams: Iterator[Stream]) -> Table:
    """Return a row for each kind of change: whether it is found, and what is first."""
    columns = ("camera", "change", "flagged", "channels", "first concept", "score", "right", "first channel", "right")
    table = Table(*columns, title="Changes")
    members, names = _concepts(), _names()
    flagged, total, right, right_channel, asked = 0, 0, 0, 0, 0
    for stream in streams:
        reference = references[stream.camera]
        found = reference.compare(_features(network, stream.pixels))
        scores = found.scores[: 2 * len(names)].reshape(2, -1).max(0)  # a channel's peak or mean
        concepts = {name: drift.joint_score(scores[channels].tolist()) for name, channels in members.items()}
        first = max(concepts, key=concepts.__getitem__)
        channel = int(scores.argmax())
        if stream.truth in CLASSES:
            predicted = int(found.scores[-len(CLASSES) :].argmax())
            first, concepts[CLASSES[predicted]] = CLASSES[predicted], float(found.scores[predicted - len(CLASSES)])
        is_right = stream.truth == first
        is_channel = names[channel].endswith(f" {stream.truth}")
        total += 1
        flagged += bool(found.significant.any())
        if stream.truth:
            asked, right, right_channel = asked + 1, right + is_right, right_channel + is_channel
        table.add_row(
            stream.camera,
            stream.change,
            "yes" if found.significant.any() else "no",
            str(int((scores > 1).sum())),
            first,
            f"{concepts[first]:.1f}",
            ("yes" if is_right else "no") if stream.truth else "",
            names[channel],
            ("yes" if is_channel else "no") if stream.truth else "",
        )
    table.caption = (
        f"{flagged} of {total} flagged; first is right: {right} of {asked} by concepts (or classes), "
        f"{right_channel} by single channels"
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


def photographs_table(folder: Path, weights: Path, count: int, window: int) -> Table:
    """Return what is found in crops of photographs that are spoilt, and in crops that are not."""
    loaded = load_model(ModelSettings(name="googlenet", architecture="googlenet_bvlc", weights=str(weights)))
    layer = loaded.description.layer_by_name["mixed4d"].path
    photos = [Image.open(file).convert("RGB") for file in sorted(folder.iterdir()) if file.suffix in (".jpg", ".jpeg")]
    table = Table("change", "flagged", "channels", "strongest", title=f"Crops of {len(photos)} photographs, mixed4d")
    reference = drift.Reference(_photo_features(loaded.network, layer, _crops(photos, _REFERENCE, count)))
    usual = _crops(photos, _CHANGED, window)
    for change, spoil in ({"none": lambda image: image} | SPOILT).items():
        found = reference.compare(_photo_features(loaded.network, layer, np.stack([spoil(each) for each in usual])))
        significant = found.significant
        table.add_row(
            change,
            "yes" if significant.any() else "no",
            f"{int(significant.sum())} of {len(significant)} numbers",
            f"{found.scores.max():.1f} times chance",
        )
    return table


def cost_table() -> Table:
    """Return what watching adds to a forward of one image, and what is kept of a layer of 512 channels."""
    network = _network()
    inputs = normalize(torch.from_numpy(draw(0, "dog").image[None]))
    layers = list(LAYERS)

    def plain() -> None:
        capture(network, inputs, layers, logits=True)

    def watched() -> None:
        maps = capture(network, inputs, layers, logits=True).layers
        for layer in layers:
            observing.layer_numbers(maps[layer])

    with torch.inference_mode():
        seconds = {call.__name__: _seconds(call) for call in (plain, watched)}
    added = seconds["watched"] - seconds["plain"]
    table = Table("", "", title="Cost")
    table.add_row("a forward of parts", f"{1000 * seconds['plain']:.2f} ms")
    table.add_row("watching two layers adds", f"{1000 * added:.2f} ms ({added / seconds['plain']:.1%})")
    numbers = 2 * 512 + 1
    for window in (500, 1000):
        kept = (REFERENCE_IMAGES + window) * numbers
        table.add_row(f"a layer of 512 channels, window of {window}", f"{kept / 2**20:.2f} MiB")
    return table


def _seconds(call: Callable[[], None], rounds: int = 200) -> float:
    """Return the time of the fastest tenth of calls: what others do on the machine does not count."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.mean(sorted(taken)[: rounds // 10]))


def _network() -> nn.Module:
    network = parts()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval().requires_grad_(False)


def _pictures(pool: Executor, seed: int, count: int, classes: Sequence[str], without: str = "") -> Pixels:
    wanted = partial(_picture, seed, tuple(classes), frozenset({without} - {""}))
    return np.stack(list(pool.map(wanted, range(count), chunksize=20)))


def _picture(seed: int, classes: tuple[str, ...], without: frozenset[str], number: int) -> Pixels:
    return draw(np.random.default_rng([seed, number]), classes[number % len(classes)], without=without).image


def _crops(photos: Sequence[Image.Image], seed: int, count: int) -> Pixels:
    """Return crops of photographs at random places and sizes, mirrored or not."""
    found = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        photo = photos[int(random.integers(len(photos)))]
        side = min(photo.size) * float(random.uniform(0.5, 1))
        left, top = (float(random.uniform(0, extent - side)) for extent in photo.size)
        crop = np.asarray(photo.resize((_CROP, _CROP), box=(left, top, left + side, top + side)))
        found.append(crop[:, ::-1] if random.random() < 0.5 else crop)
    return np.stack(found)


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
    """Return what a monitor keeps of images: peaks of the layers' channels, their means, then the rest."""
    rows = []
    for start in range(0, len(images), _BATCH):
        inputs = normalize(torch.from_numpy(images[start : start + _BATCH]))
        maps = capture(network, inputs, list(LAYERS)).layers
        measured = [observing.layer_numbers(maps[layer]) for layer in LAYERS]
        probabilities = network(inputs).softmax(1)
        numbers = [part for kind in (0, 1) for part in (each[kind] for each in measured)]
        numbers += [each[2][:, None] for each in measured]
        predicted = nn.functional.one_hot(probabilities.argmax(1), len(CLASSES)) * 2.0
        rows.append(drift.encode(torch.cat([*numbers, probabilities.amax(1, True), predicted], 1).numpy()))
    return np.concatenate(rows)


@torch.inference_mode()
def _photo_features(network: nn.Module, layer: str, images: Pixels) -> drift.Codes:
    rows: list[Tensor] = []
    for start in range(0, len(images), _BATCH):
        inputs = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2) / 255
        inputs = (inputs - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_DEVIATION).view(3, 1, 1)
        peaks, means, sparsity = observing.layer_numbers(capture(network, inputs, [layer]).layers[layer])
        rows.append(torch.cat([peaks, means, sparsity[:, None]], 1))
    return drift.encode(torch.cat(rows).numpy())


def _concepts() -> dict[str, list[int]]:
    """Return the channels of each name, as numbers among those of all layers."""
    found: dict[str, list[int]] = {}
    for number, name in enumerate(_names()):
        if text := name.partition(" ")[2]:
            found.setdefault(text, []).append(number)
    return found


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
