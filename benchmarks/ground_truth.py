"""Are the explanations right? On pictures whose parts are known: python benchmarks/ground_truth.py

Prints, for the embedded model:

- how many channels of each layer detect a part (network dissection, issue 3's measure),
- how many groups of a factorization match distinct parts: each class's fresh pictures are factorized together, as
  `Factorize` does, and a group's map is compared with the masks of all parts over the whole batch,
- how often a semantic dictionary's names are right: whether the strongest named neurons at a position name something
  that shows there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from striate_service.models.layers import capture
from striate_service.models.parts import CLASSES, LABELS, WEIGHTS
from striate_service.models.parts.evaluation import (
    CONCEPTS,
    MIXED,
    dissect_layers,
    fresh_pictures,
    mask_tensor,
    to_inputs,
)
from striate_service.models.parts.network import parts
from striate_service.models.parts.pictures import PARTS
from striate_service.techniques.dissection import LEAST_IOU
from striate_service.techniques.factorization import factorize
from torch import Tensor, nn
from torch.nn import functional

GROUP_LEVEL = 0.4  # of a group's largest values: where its map exceeds this share of them, the group is
GROUP_IOU = 0.3  # a group matches a part from here on (issue 3)
_SEED = 2**31 + 7


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare explanations with the parts that pictures are made of.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--pictures", type=int, default=1024, help="to dissect on")
    parser.add_argument("--batch", type=int, default=16, help="pictures of a class that are factorized together")
    parser.add_argument("--components", type=int, default=8, help="groups")
    parser.add_argument(
        "--layers", nargs="+", default=["mixed4c", "mixed4d", "mixed5a", "mixed5b"], help="to factorize"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = parts()
    network.load_state_dict(load_file(options.weights))
    network.eval().requires_grad_(False)
    console = Console()
    console.print(dissection_table(network, options.pictures))
    console.print(factorization_table(network, options.layers, options.batch, options.components))
    if options.labels.exists():
        console.print(dictionary_table(network, json.loads(options.labels.read_text(encoding="utf-8"))["labels"], 200))


def dissection_table(network: nn.Module, count: int) -> Table:
    table = Table(
        "layer", "channels", f"IoU > {LEAST_IOU}", "distinct parts", "10th best IoU", title="Network dissection"
    )
    for layer, dissection in dissect_layers(network, MIXED, count).items():
        found, channels = dissection.detectors(), len(dissection.thresholds)
        of_parts = [d for d in found if d.concept in PARTS]
        tenth = f"{of_parts[9].iou:.2f}" if len(of_parts) > 9 else "-"
        distinct = len({d.concept for d in of_parts})
        table.add_row(layer, str(channels), f"{len(found) / channels:.0%}", str(distinct), tenth)
    return table


def factorization_table(network: nn.Module, layers: list[str], batch: int, components: int) -> Table:
    title = f"Groups that match distinct parts at IoU > {GROUP_IOU}, of {components} ({batch} pictures a class)"
    table = Table("class", *layers, "matches (last column's layer with most)", title=title)
    enough = dict.fromkeys(layers, 0)
    for name in CLASSES:
        pictures = fresh_pictures(batch, name, _SEED)
        masks = mask_tensor(pictures)
        captured = capture(network, to_inputs(pictures), layers).layers
        matches = {layer: matching_groups(captured[layer], masks, components) for layer in layers}
        best = max(matches.values(), key=len)
        for layer in layers:
            enough[layer] += len(matches[layer]) >= 4
        listed = ", ".join(f"{part} {iou:.2f}" for part, iou in best)
        table.add_row(name, *(str(len(matches[layer])) for layer in layers), listed)
    table.add_row(
        "classes with 4 or more", *(f"{enough[layer]} of {len(CLASSES)}" for layer in layers), "", style="bold"
    )
    return table


def matching_groups(maps: Tensor, masks: Tensor, components: int) -> list[tuple[str, float]]:
    """Factorize a layer's maps [N, C, h, w] and return the parts that groups match, each by another group.

    Args:
        masks: bool [N, concepts, H, W].
    """
    count, channels, height, width = maps.shape
    weights = factorize(maps.permute(0, 2, 3, 1).reshape(-1, channels), components).weights
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


def dictionary_table(network: nn.Module, labels: list[dict[str, object]], count: int) -> Table:
    table = Table(
        "layer", "right among 1", "among 3", "among 6", "by chance among 3", title="Names that show where they are said"
    )
    pictures = fresh_pictures(count, seed=_SEED + 1)
    masks = mask_tensor(pictures)
    inputs = to_inputs(pictures)
    for layer in MIXED:
        named = {int(str(n["channel"])): CONCEPTS.index(str(n["text"])) for n in labels if n["layer"] == layer}
        maps = capture(network, inputs, [layer]).layers[layer]
        shares = [f"{share:.0%}" for share in right_names(maps, masks, named)]
        table.add_row(layer, *shares)
    return table


def right_names(maps: Tensor, masks: Tensor, named: dict[int, int]) -> list[float]:
    """Return how often one of the 1, 3, 6 strongest named neurons (and 3 by chance) names what shows at its position.

    Only positions where a part shows count. A neuron's strength is compared with its own largest activations.

    Args:
        maps: [N, C, h, w].
        masks: bool [N, concepts, H, W].
        named: concept by channel.
    """
    if not named:
        return [float("nan")] * 4
    channels, concepts = torch.tensor(list(named)), torch.tensor(list(named.values()))
    own = maps[:, channels]
    own = own / own.transpose(0, 1).flatten(1).quantile(0.995, dim=1).clamp(min=1e-6)[:, None, None]
    shows = functional.adaptive_max_pool2d(masks.float(), maps.shape[2:]) > 0  # anywhere in the cell
    counted = shows[:, : len(PARTS)].any(1)
    right = shows[:, concepts].permute(0, 2, 3, 1)[counted]  # [positions, named]
    order = own.permute(0, 2, 3, 1)[counted].argsort(dim=1, descending=True)
    among = [right.gather(1, order[:, :k]).any(1).float().mean().item() for k in (1, 3, 6)]
    random = torch.rand(right.shape, generator=torch.Generator().manual_seed(0)).argsort(dim=1)[:, :3]
    return [*among, right.gather(1, random).any(1).float().mean().item()]


if __name__ == "__main__":
    main()
