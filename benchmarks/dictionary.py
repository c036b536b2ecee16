"""The latency of semantic dictionaries: python benchmarks/dictionary.py [--photo dog.jpg] [--rounds 30]

Of the embedded model and of googlenet_bvlc, or of another network by --architecture and --weights.

Ours is a call through the client to a server with one worker, over a loopback connection: it decodes the photo, runs
the network, and returns effects on five classes, names, and every icon, from the store. It is compared with the minimum
of computation: one forward pass and five backward passes down to the layer, in plain torch on one thread, with decoded
pixels. The two alternate, call by call. Printed are the medians, the median of the ratios, and where ours spends its
time.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import striate
import torch
from harness import ARCHITECTURE, KEEP_FREED_MEMORY, LAYERS, WEIGHTS
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image
from striate_service.config import ModelSettings, load
from striate_service.local import LocalServer
from striate_service.models.loading import LoadedModel, load_model
from torch import Tensor

CLASSES = 5
GOAL = 1.5  # times the forward and the backward passes (issue 5)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time semantic dictionaries against the passes that they need.")
    parser.add_argument("--photo", type=Path, help="an image file; scikit-learn's flower.jpg by default")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--home", type=Path, help="keeps rendered icons from run to run; a new folder by default")
    parser.add_argument("--architecture", default=ARCHITECTURE, choices=list(LAYERS), help="beside the embedded model")
    parser.add_argument("--weights", type=Path, help="its file; the network is left out where there is none")
    options = parser.parse_args()
    if not KEEP_FREED_MEMORY.items() <= os.environ.items():  # as in workers; plain torch gains as much by it
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_FREED_MEMORY})
    torch.set_num_threads(1)
    photo = options.photo.read_bytes() if options.photo else _jpeg(load_sample_image("flower.jpg"))
    models = {"parts": ("mixed4d", "mixed5b")}
    specifications = ["parts"]
    weights = options.weights or WEIGHTS.get(options.architecture)
    if weights and weights.is_file():
        models[options.architecture] = LAYERS[options.architecture]
        specifications.append(f"{options.architecture}={options.architecture}:{weights}")
    table = Table("model", "layer", "passes (ms)", "ours (ms)", "ratio", f"within {GOAL}", "decode", "server", "reply")
    with tempfile.TemporaryDirectory() as folder:
        settings = load(
            host="127.0.0.1",
            port=0,
            metrics_port=-1,
            home=options.home or Path(folder),
            models=specifications,
            devices=("cpu",),
            cpu_engine="torch",  # gradients need torch, so an export would be unused
        )
        with LocalServer(settings) as server, striate.Client(server.target, timeout=3600) as client:
            for specification in specifications:
                loaded = load_model(ModelSettings.parse(specification))
                name = loaded.description.name
                for layer in models[name]:
                    table.add_row(name, layer, *_compared(client, loaded, layer, photo, options.rounds))
    Console().print(table)


def _compared(client: striate.Client, loaded: LoadedModel, layer: str, photo: bytes, rounds: int) -> list[str]:
    name = loaded.description.name
    mentioned = client.semantic_dictionary(photo, layer, model=name, icons=False).neurons
    for _ in client.render_icons(layer, model=name, channels=list(mentioned), icons=False):
        pass

    def ours() -> striate.SemanticDictionary:
        return client.semantic_dictionary(photo, layer, model=name, classes=CLASSES)

    inputs = _prepared(photo, loaded)
    plain = _Passes(loaded.network, layer)
    assert ours().pending_icons == 0
    _check_agreement(plain(inputs), ours())
    parts: dict[str, Callable[[], object]] = {
        "passes": lambda: plain(inputs),
        "ours": ours,
        "decode": lambda: _prepared(photo, loaded),
        "bare": lambda: client.semantic_dictionary(inputs[0].numpy(), layer, model=name, classes=CLASSES, icons=False),
    }
    times: dict[str, list[float]] = {part: [] for part in parts}
    for number in range(rounds + 3):
        for part, call in parts.items():
            started = time.perf_counter()
            call()
            if number >= 3:  # the first three warm up
                times[part].append(1e3 * (time.perf_counter() - started))
    passes, whole, decode, bare = (statistics.median(times[part]) for part in ("passes", "ours", "decode", "bare"))
    ratio = statistics.median(mine / theirs for mine, theirs in zip(times["ours"], times["passes"], strict=True))
    kept = "yes" if ratio <= GOAL else "no"
    rest = [f"{decode:.1f}", f"{bare - passes:.1f}", f"{whole - decode - bare:.1f}"]
    return [f"{passes:.1f}", f"{whole:.1f}", f"{ratio:.2f}", kept, *rest]


class _Passes:
    """One forward pass and the backward passes that effects on classes need, and nothing else."""

    def __init__(self, network: torch.nn.Module, layer: str) -> None:
        self._network = network
        self._output: Tensor
        network.get_submodule(layer).register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        self._output = output.detach().requires_grad_()
        return self._output.clone()  # the next module may work in place

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's output [C, H, W], and the gradients of the most probable logits, [M, C, H, W]."""
        logits = self._network(inputs)[0]
        chosen = logits[logits.argsort(descending=True)[:CLASSES]]
        gradients = [torch.autograd.grad(logit, self._output, retain_graph=True)[0][0] for logit in chosen]
        return self._output.detach()[0], torch.stack(gradients)


def _check_agreement(passes: tuple[Tensor, Tensor], found: striate.SemanticDictionary) -> None:
    """Check that both compute the same effects."""
    layer, gradients = passes
    rows, columns = found.positions.T
    effects = (gradients * layer).numpy()[:, found.channels, rows[:, None], columns[:, None]].transpose(1, 2, 0)
    assert np.linalg.norm(effects - found.effects) < 0.02 * np.linalg.norm(effects)


def _prepared(photo: bytes, loaded: LoadedModel) -> Tensor:
    """Decode as torchvision's presets do: [1, 3, crop, crop]."""
    preprocessing = loaded.description.preprocessing
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    width, height = picture.size
    short, side = preprocessing.resize, preprocessing.crop
    size = (short, short * height // width) if width <= height else (short * width // height, short)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    cut = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + side, top + side))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    pixels = torch.from_numpy(np.asarray(cut).copy()).permute(2, 0, 1).float().div_(255)
    return pixels.sub_(mean).div_(std)[None].to(memory_format=torch.channels_last)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
