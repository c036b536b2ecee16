"""Time to decode and resize a JPEG: python benchmarks/decoding.py [--photo dog.jpg] [--rounds 15]

The photo is enlarged to 12 and to 0.2 megapixels. Exact decoding (torchvision's pixels) and scaled decoding, the
default, alternate, with every other library that is installed: simplejpeg and pyvips, which scale as well and then
resize with Pillow, or by themselves. All run in one thread. Printed are the medians, quartiles, and the difference from
exact decoding.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import machine
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_image
from striate_service.explain.images import Fit, GivenImage, Target, decode, open_image
from striate_service.models.description import Preprocessing

SIZES = {"12 MP": (4032, 3024), "0.2 MP": (512, 384)}
SIDE = 256
USUAL = Preprocessing(SIDE, SIDE, "bilinear", (0.5,) * 3, (0.25,) * 3)

Decode = Callable[[bytes], NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the decoding of JPEGs, exact and scaled.")
    parser.add_argument("--photo", type=Path, help="an image file; scikit-learn's flower.jpg by default")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    photo = Image.open(options.photo) if options.photo else Image.fromarray(load_sample_image("flower.jpg"))
    table = Table("JPEG", "decoder", "ms", "quartiles", "largest difference", "mean", title=machine())
    for name, size in SIZES.items():
        buffer = io.BytesIO()
        photo.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
        data = buffer.getvalue()
        decoders = _decoders()
        times: dict[str, list[float]] = {decoder: [] for decoder in decoders}
        for _ in range(options.rounds):
            for decoder, run in decoders.items():
                began = time.perf_counter()
                run(data)
                times[decoder].append(1000 * (time.perf_counter() - began))
        exact = decoders["exact"](data).astype(int)
        for decoder, run in decoders.items():
            low, median, high = statistics.quantiles(times[decoder], n=4)
            apart = abs(run(data).astype(int) - exact)
            table.add_row(
                name, decoder, f"{median:.1f}", f"{low:.1f} to {high:.1f}", str(apart.max()), f"{apart.mean():.3f}"
            )
    Console(width=120).print(table)


def _decoders() -> dict[str, Decode]:
    """Return functions from a file to pixels [SIDE, SIDE, 3]."""

    def ours(exact: bool) -> Decode:
        target = Target(USUAL, Fit.STRETCH, exact)

        def run(data: bytes) -> NDArray[np.uint8]:
            return decode(open_image(GivenImage(data, "image"), 10**8, target), "image", target).pixels  # type: ignore[return-value]

        return run

    found = {"exact": ours(True), "scaled": ours(False)}
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        def run_simplejpeg(data: bytes) -> NDArray[np.uint8]:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            factor = max([scale for scale in (1, 2, 4, 8) if min(height, width) >= 4 * scale * SIDE], default=1)
            pixels = simplejpeg.decode_jpeg(data, min_height=height // factor, min_width=width // factor)
            return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))

        found["simplejpeg, scaled"] = run_simplejpeg
    if importlib.util.find_spec("pyvips"):
        import pyvips

        pyvips.concurrency_set(1)

        def run_vips(data: bytes) -> NDArray[np.uint8]:
            return pyvips.Image.thumbnail_buffer(data, SIDE, height=SIDE, size="force", no_rotate=True).numpy()

        found["pyvips, thumbnail"] = run_vips
    return found


if __name__ == "__main__":
    main()
