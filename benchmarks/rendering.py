"""The time to render icons, and whether icons represent their channels: python benchmarks/rendering.py

In one run, on googlenet_bvlc's inception4d and inception5b, or on squeezenet1_0's features.7 and features.12
(--architecture):

- Seconds per icon: RenderIcons for 16 icons and for one, against torch-lucent at its defaults, each alone on the
  machine with all cores.
- How strongly icons excite their channel, measured in the same way for both: the channel's mean activation, by a plain
  hook on the whole network, over fixed shifts, scales and turns of the finished 8-bit picture at the network's input
  size.
- Whether an icon represents its channel: shown to the network, does it excite its own channel most, relative to each
  channel's 99.9th percentile over natural photographs? And does it exceed that percentile? With few photographs many
  channels have low percentiles, and then seem strong for any image: --natural FOLDER adds photographs.
- The latency of activations with and without a layer being rendered at the same time.

Contact sheets, the peer's icons above ours, go to --out. The peer takes about 38 s per icon on two cores, so it renders
few; its pictures and times are saved in --out and reused with --stored. To install it:
pip install -c constraints.txt 'striate[bench]'
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import striate
import torch
from harness import ARCHITECTURE, LAYERS, PHOTOS, WEIGHTS, load_network
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images
from striate_service.config import ModelSettings, PreprocessingSettings, load
from striate_service.local import LocalServer
from striate_service.models.torchvision_compat import import_torchvision
from torch import Tensor, nn
from torch.nn import functional

ICONS = 16  # of each layer
SIDE = 224
VIEWS = 24  # of a picture, over which its excitation is averaged
CROPS = 1000  # random ones, of all natural photographs together
QUANTILE = 0.999
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

Pictures = dict[int, NDArray[np.uint8]]
"""By channel, [128, 128, 3]."""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    network = load_network(options.architecture, WEIGHTS[options.architecture])
    photographs = _photographs(options.natural)
    console = Console(width=120)
    table = Table(
        "layer", "icons", "s/icon, 16", "s/icon, 1", "peer's s/icon", "times faster, 16", "1", "objective/peer's"
    )
    meaning = Table("layer", "icons", "own channel is the top one", f"above its own {QUANTILE:.1%} percentile", "blank")
    for layer in LAYERS[options.architecture]:
        channels = _evenly(_activations(network, layer, torch.zeros(1, 3, SIDE, SIDE)).shape[1])
        peers, peer_seconds = _lucent(layer, channels[:: ICONS // options.lucent], options)
        with _server(options.architecture) as client:
            started = time.perf_counter()
            ours = _icons(client, layer, channels)
            batch_seconds = (time.perf_counter() - started) / len(channels)
        with _server(options.architecture) as client:
            started = time.perf_counter()
            _icons(client, layer, channels[:1])
            single_seconds = time.perf_counter() - started
        ratios = [
            excitation(network, layer, ours[channel], channel) / excitation(network, layer, picture, channel)
            for channel, picture in peers.items()
        ]
        table.add_row(
            layer,
            f"{len(channels)}; {len(peers)}",
            f"{batch_seconds:.2f}",
            f"{single_seconds:.2f}",
            f"{peer_seconds:.1f}",
            f"{peer_seconds / batch_seconds:.1f}",
            f"{peer_seconds / single_seconds:.1f}",
            f"median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        )
        own, strong = _meanings(network, layer, ours, photographs)
        blank = sum(picture.std() < 8 for picture in ours.values())
        meaning.add_row(layer, str(len(ours)), f"{own:.0%}", f"{strong:.0%}", str(blank))
        _sheet([list(peers.values()), [ours[channel] for channel in peers]], options.out / f"{layer}_beside_lucent.png")
        _sheet([list(ours.values())[:8], list(ours.values())[8:]], options.out / f"{layer}.png")
    console.print(table)
    console.print(f"quantiles from {CROPS} crops of {len(photographs)} photographs")
    console.print(meaning)
    console.print(_latencies(options.architecture, options.seconds))


def _evenly(channels: int) -> list[int]:
    """Return `ICONS` of a layer's channels, evenly spread."""
    return [(2 * number + 1) * channels // (2 * ICONS) for number in range(ICONS)]


@torch.no_grad()
def excitation(network: nn.Module, layer: str, picture: NDArray[np.uint8], channel: int) -> float:
    """Return the mean activation of a channel over fixed views of a picture."""
    generator = torch.Generator().manual_seed(0)
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    image = functional.interpolate(image, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    found = []
    for x, y, scale, turn in (torch.rand(VIEWS, 4, generator=generator) * 2 - 1).tolist():
        angle, zoom, shift = np.radians(10 * turn), 1 + 0.1 * scale, 2 * 8 / SIDE
        cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
        affine = torch.tensor([[[cosine, -sine, x * shift], [sine, cosine, y * shift]]], dtype=torch.float32)
        grid = functional.affine_grid(affine, [1, 3, SIDE, SIDE], align_corners=False)
        view = functional.grid_sample(image - 0.5, grid, align_corners=False) + 0.5
        found.append(float(_activations(network, layer, view)[0, channel].mean()))
    return statistics.fmean(found)


def _meanings(
    network: nn.Module, layer: str, icons: Pictures, photographs: Sequence[NDArray[np.uint8]]
) -> tuple[float, float]:
    """Return the shares of icons whose own channel is the top one, and that are above its natural percentile.

    Activations are those of single positions: a natural image has as many as an icon.
    """
    generator = np.random.default_rng(0)
    natural = []
    for number in range(CROPS):
        crop = _natural_crop(photographs[number % len(photographs)], generator)
        natural.append(_activations(network, layer, crop)[0].flatten(1))
    values = torch.cat(natural, dim=1)  # [C, crops * positions]
    quantiles = torch.tensor([float(np.quantile(row, QUANTILE)) for row in values.numpy()]).clamp(min=1e-6)
    own = strong = 0
    for channel, picture in icons.items():
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        image = functional.interpolate(image, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        strongest = _activations(network, layer, image)[0].amax((1, 2)) / quantiles
        own += int(strongest.argmax()) == channel
        strong += float(strongest[channel]) > 1
    return own / len(icons), strong / len(icons)


def _natural_crop(photograph: NDArray[np.uint8], generator: np.random.Generator) -> Tensor:
    height, width, _ = photograph.shape
    side = int(generator.integers(min(height, width) // 3, min(height, width) + 1))
    top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
    crop = Image.fromarray(photograph[top : top + side, left : left + side]).resize((SIDE, SIDE))
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255


def _photographs(folder: Path | None = None) -> list[NDArray[np.uint8]]:
    files = [*PHOTOS, *(sorted(folder.iterdir()) if folder else [])]
    return [np.array(Image.open(file).convert("RGB")) for file in files] + list(load_sample_images().images)


@torch.no_grad()
def _activations(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Return a layer's activations [N, C, H, W] for images [N, 3, H, W] of values 0 to 1."""
    found: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: found.append(output))
    network((images - MEAN) / STD)
    hook.remove()
    return found[0]


def _lucent(layer: str, channels: Sequence[int], options: argparse.Namespace) -> tuple[Pictures, float]:
    """Return torch-lucent's pictures at its defaults, and its seconds per icon."""
    folder = options.out / "lucent" / options.architecture
    folder.mkdir(parents=True, exist_ok=True)
    pictures, seconds = {}, []
    for channel in channels:
        picture, clock = folder / f"{layer}_{channel}.png", folder / f"{layer}_{channel}.json"
        if not (options.stored and picture.exists() and clock.exists()):
            # In a separate process, which uses all cores and none of this process's settings.
            environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count())}
            subprocess.run(
                [sys.executable, __file__, "--peer", options.architecture, layer, str(channel), str(folder)],
                check=True,
                env=environment,
            )
        pictures[channel] = np.array(Image.open(picture))
        seconds.append(json.loads(clock.read_text())["seconds"])
    return pictures, statistics.median(seconds)


def _render_by_lucent(architecture: str, layer: str, channel: int, folder: Path) -> None:
    import_torchvision()
    from lucent.optvis import render

    network = load_network(architecture, WEIGHTS[architecture]).requires_grad_(True)  # as a user has it
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # lucent reads activations that in-place ReLUs would overwrite
    torch.manual_seed(0)
    np.random.seed(0)  # used by its transformations
    started = time.perf_counter()
    name = f"{layer.replace('.', '_')}:{channel}"
    picture = render.render_vis(network, name, show_image=False, progress=False)[-1][0]
    seconds = time.perf_counter() - started
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(folder / f"{layer}_{channel}.png")
    (folder / f"{layer}_{channel}.json").write_text(json.dumps({"seconds": seconds}))


@contextmanager
def _server(architecture: str) -> Iterator[striate.Client]:
    """Start a warmed-up server with an empty store."""
    model = ModelSettings(
        name="network",
        architecture=architecture,
        weights=str(WEIGHTS[architecture]),
        preprocessing=PreprocessingSettings(resize=256, crop=SIDE),
    )
    with tempfile.TemporaryDirectory() as home:
        settings = load(host="127.0.0.1", port=0, metrics_port=-1, home=Path(home), models=[model], cpu_engine="torch")
        with LocalServer(settings) as server, striate.Client(server.target, timeout=600) as client:
            client.activations(_photographs()[0], LAYERS[architecture][0], reduce="mean")
            yield client


def _icons(client: striate.Client, layer: str, channels: Sequence[int]) -> Pictures:
    neurons = [n for update in client.render_icons(layer, channels=channels) for n in update.neurons]
    return {neuron.channel: np.array(neuron.icon) for neuron in sorted(neurons, key=lambda each: each.channel)}


def _latencies(architecture: str, seconds: float) -> Table:
    """Measure the latency of activations for one caller, with and without rendering."""
    photograph = _photographs()[0]
    measured, rendered = LAYERS[architecture]
    table = Table("one caller's activations", "p50 ms", "p99 ms", "calls")
    with _server(architecture) as client:

        def measure(name: str, stop: Callable[[], bool] = lambda: False) -> None:
            waits, end = [], time.perf_counter() + seconds
            while time.perf_counter() < end and not stop():
                begun = time.perf_counter()
                client.activations(photograph, measured, reduce="mean")
                waits.append(1000 * (time.perf_counter() - begun))
                time.sleep(0.02)  # pauses between calls, in which rendering can run
            table.add_row(name, *(f"{np.percentile(waits, q):.0f}" for q in (50, 99)), str(len(waits)))

        measure("without rendering")
        stream = client.render_icons(rendered, icons=False)
        rendering = threading.Thread(target=lambda: _drain(stream), daemon=True)
        rendering.start()
        time.sleep(1)
        measure(f"while {rendered} is rendered", lambda: not rendering.is_alive())
    return table


def _drain(stream: Iterator[striate.RenderProgress]) -> None:
    try:
        for _ in stream:
            pass
    except striate.StriateError:
        pass  # the server was stopped while it rendered


def _sheet(rows: list[list[NDArray[np.uint8]]], file: Path) -> None:
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare icons with torch-lucent's, and see whether they mean neurons."
    )
    parser.add_argument("--architecture", default=ARCHITECTURE, choices=list(WEIGHTS))
    parser.add_argument("--out", type=Path, default=Path("rendering"), help="for contact sheets, and the peer's icons")
    parser.add_argument("--lucent", type=int, choices=(1, 2, 4, 8, 16), default=2, help="icons a layer that it makes")
    parser.add_argument("--stored", action="store_true", help="use the peer's icons and times from --out")
    parser.add_argument("--natural", type=Path, help="a folder of photographs, beside the few that are here")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement of latency")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        _render_by_lucent(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
