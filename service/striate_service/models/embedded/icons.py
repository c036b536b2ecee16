"""Render the icons that ship with the embedded model: python -m striate_service.models.embedded.icons

They are those that a server would render on demand, in the folder layout of its icon store, where it finds them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from striate_service.config import EMBEDDED
from striate_service.models.embedded import ICONS
from striate_service.models.loading import load_model
from striate_service.stores.icons import IconAddress
from striate_service.techniques.feature_visualization import advance, pictures, start
from striate_service.techniques.objective import Channel
from striate_service.techniques.recipe import SOFT

LAYERS = ("mixed3a", "mixed3b", "mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed5a", "mixed5b")
_BATCH = 16
_WEBP_QUALITY = 32  # all 1,248 icons together stay under 4 MiB; what a server renders by itself it stores without loss


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the embedded model's icons; those that are there are kept.")
    parser.add_argument("--out", type=Path, default=ICONS)
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # to use more cores, render layers in several processes
    model, recipe = load_model(EMBEDDED), SOFT
    description = model.description
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for layer in options.layers:
            files = {
                channel: options.out / IconAddress(description.version, layer, Channel(channel).text, recipe.text).path
                for channel in range(description.layer_by_name[layer].channels)
            }
            missing = [channel for channel, file in files.items() if not file.exists()]
            task = progress.add_task(layer, total=len(missing))
            for first in range(0, len(missing), _BATCH):
                channels = missing[first : first + _BATCH]
                objectives = [Channel(channel) for channel in channels]
                state = advance(
                    model.network,
                    layer,
                    objectives,
                    recipe,
                    start(recipe, objectives),
                    preprocessing=description.preprocessing,
                )
                for channel, picture in zip(channels, pictures(state, recipe), strict=True):
                    files[channel].parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(picture.numpy()).save(files[channel], "WEBP", quality=_WEBP_QUALITY, method=6)
                progress.advance(task, len(channels))


if __name__ == "__main__":
    main()
