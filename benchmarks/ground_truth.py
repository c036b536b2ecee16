"""Compare explanations with pictures whose parts are known: python benchmarks/ground_truth.py

Prints, for the embedded models, `parts` and the vision transformer `parts_vit`:

- how many fresh pictures they classify correctly,
- how many channels of each layer detect a part (network dissection, issue 3's measure); where a layer has negative
  values, by what they are above 0 for, and by either sign,
- how many groups of a factorization match distinct parts: new pictures of each class are factorized together, as
  `Factorize` does (by semi-NMF where there are negative values), and each group's map is compared with the masks of all
  parts over the whole batch,
- how often a semantic dictionary from a server is right: a position inside a part is right if one of its first three
  neurons has that part's name and is not negative, and a picture is right if half of such positions are (issue 5: at
  least 70% of 200 new pictures).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import striate
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from striate_service.config import ModelSettings, load
from striate_service.local import LocalServer
from striate_service.models.embedded import CLASSES, LABELS, VIT_LABELS, VIT_WEIGHTS, WEIGHTS
from striate_service.models.embedded.evaluation import (
    MIXED,
    TOKENS,
    accuracy_by_class,
    dissect_layers,
    fresh_pictures,
    layer_maps,
    mask_tensor,
)
from striate_service.models.embedded.network import parts
from striate_service.models.embedded.pictures import PARTS, Picture
from striate_service.models.embedded.vit import parts_vit
from striate_service.techniques.dissection import LEAST_IOU
from striate_service.techniques.factorization import factorize
from torch import Tensor, nn
from torch.nn import functional

GROUP_LEVEL = 0.4  # of a group's 0.99 quantile: the group is present where its map exceeds this share
GROUP_IOU = 0.3  # above which a group matches a part (issue 3)
NEURONS = 3
PICTURES_RIGHT = 0.7  # share of pictures that should be right (issue 5)
_SEED = 2**31 + 7


@dataclass(frozen=True)
class Subject:
    """A model that is compared with its pictures."""

    build: Callable[[], nn.Module]
    weights: Path
    labels: Path
    layers: tuple[str, ...]
    """To be dissected, and asked for dictionaries."""
    factorized: tuple[str, ...]
    signed: bool


SUBJECTS = {
    "parts": Subject(parts, WEIGHTS, LABELS, MIXED, ("mixed4c", "mixed4d", "mixed5a", "mixed5b"), signed=False),
    "parts_vit": Subject(
        parts_vit, VIT_WEIGHTS, VIT_LABELS, TOKENS, ("blocks.1", "blocks.2", "blocks.3", "norm"), signed=True
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare explanations with the parts that pictures are made of.")
    parser.add_argument("--models", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--weights", type=Path, help="other ones of the model, where one is named")
    parser.add_argument("--labels", type=Path, help="and the names of their channels")
    parser.add_argument("--pictures", type=int, default=1024, help="to classify and to dissect on")
    parser.add_argument("--batch", type=int, default=16, help="pictures of a class that are factorized together")
    parser.add_argument("--dictionaries", type=int, default=200, help="pictures whose dictionaries are asked for")
    parser.add_argument("--seeds", type=int, nargs="+", default=[_SEED], help="a table of groups for each")
    parser.add_argument("--components", type=int, default=8, help="groups")
    parser.add_argument("--layers", nargs="+", help="to factorize, of the model where one is named")
    options = parser.parse_args()
    if len(options.models) > 1 and (options.weights or options.labels or options.layers):
        parser.error("--weights, --labels and --layers are one model's: name it by --models")
    torch.set_num_threads(1)
    console = Console()
    for name in options.models:
        subject = SUBJECTS[name]
        weights, labels = options.weights or subject.weights, options.labels or subject.labels
        network = subject.build()
        network.load_state_dict(load_file(weights))
        network.eval().requires_grad_(False)
        accuracy = accuracy_by_class(network, options.pictures).mean()
        console.print(f"{name}: {accuracy:.1%} of {options.pictures} new pictures are classified correctly")
        console.print(dissection_table(network, subject, options.pictures))
        for seed in options.seeds:
            layers = options.layers or subject.factorized
            console.print(factorization_table(network, layers, options.batch, options.components, seed))
        if labels.exists():
            names = json.loads(labels.read_text(encoding="utf-8"))["labels"]
            model = ModelSettings(name=name, architecture=name, weights=str(weights))
            console.print(dictionary_table(model, subject.layers, names, options.dictionaries))


def dissection_table(network: nn.Module, subject: Subject, count: int) -> Table:
    head = "layer", "channels", f"IoU > {LEAST_IOU}", "of either sign", "distinct parts", "10th best IoU"
    table = Table(*head, title="Network dissection")
    for layer, dissection in dissect_layers(network, subject.layers, count, signs=subject.signed).items():
        channels = len(dissection.thresholds) // (2 if subject.signed else 1)
        found = dissection.detectors()
        of_parts = [d for d in found if d.concept in PARTS]
        tenth = f"{of_parts[9].iou:.2f}" if len(of_parts) > 9 else "-"
        distinct = len({d.concept for d in of_parts})
        positive, either = (
            len(numbers) / channels
            for numbers in ({d.channel for d in found if d.channel < channels}, {d.channel % channels for d in found})
        )
        table.add_row(layer, str(channels), f"{positive:.0%}", f"{either:.0%}", str(distinct), tenth)
    return table


def factorization_table(network: nn.Module, layers: tuple[str, ...], batch: int, components: int, seed: int) -> Table:
    of = f"of {components} ({batch} pictures a class, seed {seed})"
    title = f"Groups that match distinct parts at IoU > {GROUP_IOU}, {of}"
    table = Table("class", *layers, "matches (last column's layer with most)", title=title)
    enough, total = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
    for name in CLASSES:
        pictures = fresh_pictures(batch, name, seed)
        masks = mask_tensor(pictures)
        maps = layer_maps(network, pictures, layers)
        matches = {layer: matching_groups(maps[layer], masks, components) for layer in layers}
        best = max(matches.values(), key=len)
        for layer in layers:
            enough[layer] += len(matches[layer]) >= 4
            total[layer] += len(matches[layer])
        listed = ", ".join(f"{part} {iou:.2f}" for part, iou in best)
        table.add_row(name, *(str(len(matches[layer])) for layer in layers), listed)
    table.add_row(
        "classes with 4 or more", *(f"{enough[layer]} of {len(CLASSES)}" for layer in layers), "", style="bold"
    )
    table.add_row("mean", *(f"{total[layer] / len(CLASSES):.1f}" for layer in layers), "", style="bold")
    return table


def matching_groups(maps: Tensor, masks: Tensor, components: int) -> list[tuple[str, float]]:
    """Factorize a layer's maps [N, C, h, w] and return the parts that groups match, one part per group.

    Args:
        masks: bool [N, concepts, H, W].
    """
    count, channels, height, width = maps.shape
    method = "semi-nmf" if maps.min() < 0 else "nmf"
    weights = factorize(maps.permute(0, 2, 3, 1).reshape(-1, channels), components, method=method).weights
    groups = weights.view(count, height, width, components).permute(0, 3, 1, 2)
    enlarged = functional.interpolate(groups, masks.shape[2:], mode="bilinear", align_corners=False)
    levels = GROUP_LEVEL * torch.quantile(weights, 0.99, dim=0)
    active = (enlarged > levels[:, None, None]).transpose(0, 1).flatten(1).float()  # [K, N * H * W]
    present = masks[:, : len(PARTS)].transpose(0, 1).flatten(1).float()
    both = active @ present.T
    iou = (both / (active.sum(1)[:, None] + present.sum(1) - both).clamp(min=1)).numpy()
    rows, columns = linear_sum_assignment(-np.where(iou > GROUP_IOU, iou, 0))
    matched = [(PARTS[column], float(iou[row, column])) for row, column in zip(rows, columns, strict=True)]
    return sorted((m for m in matched if m[1] > GROUP_IOU), key=lambda m: -m[1])


def dictionary_table(
    model: ModelSettings, layers: tuple[str, ...], labels: list[dict[str, object]], count: int
) -> Table:
    """Request dictionaries of new pictures from a server, and compare the names with the parts at each position."""
    title = (
        f"Pictures whose dictionaries name the part that shows, among the first {NEURONS} neurons ({count} pictures)"
    )
    table = Table("layer", "pictures", f"at least {PICTURES_RIGHT:.0%}", "positions", "by chance", title=title)
    pictures = fresh_pictures(count, seed=_SEED + 1)
    with tempfile.TemporaryDirectory() as home:
        settings = load(host="127.0.0.1", port=0, metrics_port=-1, home=Path(home), models=(model,), devices=("cpu",))
        with LocalServer(settings) as server, striate.Client(server.target) as client:
            _name(client, labels)
            for layer in layers:
                found = [named_positions(client, picture, layer) for picture in pictures]
                right = [np.array(named) for named, _ in found if named]
                chance = [share for _, shares in found for share in shares]
                good = np.mean([named.mean() >= 0.5 for named in right]) if right else float("nan")
                positions = np.concatenate(right).mean() if right else float("nan")
                verdict = "yes" if good >= PICTURES_RIGHT else "no"
                table.add_row(layer, f"{good:.0%}", verdict, f"{positions:.0%}", f"{np.mean(chance):.0%}")
    return table


def named_positions(client: striate.Client, picture: Picture, layer: str) -> tuple[list[bool], list[float]]:
    """Compare the names at each position inside a part with that part's name.

    A position is inside a part that covers at least half of its cell.

    Returns:
        For each such position, whether one of its first `NEURONS` neurons has the name; and the probability that one of
        `NEURONS` random names of the whole dictionary would be right.
    """
    words = client.semantic_dictionary(
        picture.image, layer, neurons=NEURONS, icons=False, attribution="none", classes=0
    )
    masks = torch.from_numpy(np.stack([picture.masks[part] for part in PARTS if part in picture.masks]))
    shown = [part for part in PARTS if part in picture.masks]
    covered = functional.adaptive_avg_pool2d(masks[None].float(), words.magnitude.shape)[0] >= 0.5
    everywhere = [words.neurons[channel].label.text for channel in words.channels.flatten().tolist()]
    right, chance = [], []
    for row, column in words.positions.tolist():
        inside = {part for part, mask in zip(shown, covered, strict=True) if mask[row, column]}
        if inside:
            right.append(any(neuron.sign > 0 and neuron.label.text in inside for neuron in words.at(row, column)))
            chance.append(1 - (1 - np.mean([name in inside for name in everywhere])) ** NEURONS)
    return right, chance


def _name(client: striate.Client, labels: list[dict[str, object]]) -> None:
    """Set `labels` for a model that has none, as `striate dissect --save` would."""
    if client.labels():
        return
    for label in labels:
        channel = int(str(label["channel"]))
        client.set_label(str(label["layer"]), channel, str(label["text"]), source="dissection")


if __name__ == "__main__":
    main()
