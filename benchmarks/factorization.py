"""The speed and error of factorizations: python benchmarks/factorization.py

Real activations: GoogLeNet's mixed4d on the article's photos, as its authors published them, and googlenet_bvlc's
inception4d and inception5b on crops of photos (both in ../shared), or SqueezeNet's features.7 and features.12
(--architecture). On each matrix, and on batches of 64, with 6 and 10 groups:

- ours,
- scikit-learn's NMF at its defaults (NNDSVDa, tol=1e-4, 200 iterations) and with init="nndsvd", as the article's,
- pytorch-NMF (torchnmf) with beta=2 and its other defaults: multiplicative updates from a random start.

And semi-NMF on signed activations, of SqueezeNet's convolutions before their ReLUs (googlenet_bvlc has no signed maps):
ours; Overcomplete's SemiNMF at its defaults (500 multiplicative updates from a random start), where it is installed
(pip install --no-deps overcomplete tqdm); and the multiplicative updates of Ding, Li and Jordan (2010) in numpy
as their authors give them, from k-means and until they have converged. --only semi-nmf measures these alone.

The contenders alternate, matrix by matrix, on the same number of threads (OMP_NUM_THREADS; by default all cores).
Printed are the median milliseconds per matrix, the ratios of the medians, and the median and the largest ratio of our
error to theirs, with the quartiles of the times. Then how many factorizations end in scikit-learn's groups from the
same start, run until it has converged (every map of every group, r > 0.99): of the article's activations into 3 to 12
groups, and of 96 real ones. Last, a separate process finds one basis for --images images from a file of float16
activations, and reports its memory; the error of factorizing all at once is printed beside it.

The defaults are quick; for reliable figures: --rounds 10 --batch-rounds 3 --images 5000.
Times need an idle machine; on a busy one, --cpu with OMP_NUM_THREADS=1 measures processor time instead. The peers need:
pip install -c constraints.txt 'striate[bench]'
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

THREADS = os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))  # read when numpy and torch load
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from harness import ARCHITECTURE, LAYERS, SHARED, WEIGHTS, load_network  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.markup import escape  # noqa: E402
from rich.table import Table  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.decomposition import NMF  # noqa: E402
from striate_service.models.layers import capture  # noqa: E402
from striate_service.techniques.factorization import factorize, factorize_batches  # noqa: E402

SIGNED_ARCHITECTURE = "squeezenet1_0"
SIGNED = ("features.7.expand3x3", "features.12.expand1x1")  # outputs of convolutions
GROUPS = (6, 10)
BATCH = 64
PAUSE = 0.1  # seconds, so that the previous contender's threads stop spinning: OpenBLAS's do after 30 ms
BASIS_GROUPS = 10

Matrix = NDArray[np.float32]


@dataclass
class Figures:
    """Measurements of one contender."""

    milliseconds: list[float] = field(default_factory=list)
    """Per matrix, for each round and batch."""
    errors: list[float] = field(default_factory=list)
    """For each round and matrix."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default=ARCHITECTURE, choices=list(WEIGHTS))
    parser.add_argument("--only", choices=("nmf", "semi-nmf", "basis"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=6, help="matrices of each kind that are factorized one by one")
    parser.add_argument("--batch-rounds", type=int, default=1, help="the peers take up to 10 s for one batch")
    parser.add_argument("--images", type=int, default=500, help="for one basis; 0: leave it out")
    parser.add_argument("--cpu", action="store_true", help="measure processor time, summed over threads")
    parser.add_argument("--basis", type=Path, help=argparse.SUPPRESS)  # for the separate process
    parser.add_argument("--channels", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(int(THREADS))
    warnings.simplefilter("ignore")  # scikit-learn warns that it has not converged
    if options.basis:
        print(json.dumps(measure_basis(options.basis, options.channels)))
        return
    console = Console(width=140)
    clock = time.process_time if options.cpu else time.perf_counter
    clock_name = "processor time" if options.cpu else "time"
    console.print(f"{platform.processor() or platform.machine()}, {THREADS} threads, torch {torch.__version__}")
    kinds = ((options.singles, 1, options.rounds), (BATCH, BATCH, options.batch_rounds))
    columns = f"{clock_name}, ms a matrix; (times ours); our error's ratio to theirs: median, largest"
    if options.only in (None, "nmf"):
        matrices = {"mixed4d": np.concatenate([np.load(file) for file in reference()]).reshape(-1, 196, 528)}
        matrices |= views(BATCH, options.architecture, LAYERS[options.architecture])
        console.print(compared(columns, matrices, CONTENDERS, kinds, clock))
        console.print(ends(matrices))
    if options.only in (None, "semi-nmf"):
        contenders = SEMI_CONTENDERS
        if importlib.util.find_spec("overcomplete"):
            contenders = SEMI_CONTENDERS | {"Overcomplete": overcomplete}
        signed = views(BATCH, SIGNED_ARCHITECTURE, SIGNED)
        console.print(compared(f"semi-NMF of signed activations: {columns}", signed, contenders, kinds, clock))
    if options.images and options.only in (None, "basis"):
        console.print(one_basis(options.images, options.architecture))


def compared(
    title: str,
    matrices: dict[str, Matrix],
    contenders: dict[str, Contender],
    kinds: Iterable[tuple[int, int, int]],
    clock: Callable[[], float],
) -> Table:
    """Return a table with a row for each kind of matrices, number at a time and number of groups.

    Args:
        kinds: how many matrices, how many of them at a time, and how often.
    """
    table = Table("activations", "groups", *contenders, title=title)
    for run in contenders.values():  # warm up: compile, load, start threads
        for some in matrices.values():
            run(some[:1], 2)
    for count, batch, rounds in kinds:
        for name, all_of_them in matrices.items():
            if batch > len(all_of_them):
                continue
            for components in GROUPS:
                figures = compare(all_of_them[:count], components, batch, rounds, clock, contenders)
                case = f"{name} {all_of_them.shape[1:]}" + (f", batch of {batch}" if batch > 1 else "")
                row = list(cells(figures))
                table.add_row(case, str(components), *map(escape, row))
                print(f"{case}, {components} groups: {'; '.join(row)}", file=sys.stderr)
    return table


def compare(
    matrices: Matrix,
    components: int,
    batch: int,
    rounds: int,
    clock: Callable[[], float],
    contenders: dict[str, Contender],
) -> dict[str, Figures]:
    """Have all contenders factorize the matrices in turn, `batch` at a time."""
    figures = {contender: Figures() for contender in contenders}
    for _ in range(rounds):
        for first in range(0, len(matrices), batch):
            chosen = matrices[first : first + batch]
            for contender, run in contenders.items():
                time.sleep(PAUSE)
                started = clock()
                found = run(chosen, components)
                figures[contender].milliseconds.append(1000 * (clock() - started) / len(chosen))
                figures[contender].errors += [error(x, *f) for x, f in zip(chosen, found, strict=True)]
    return figures


def cells(figures: dict[str, Figures]) -> Iterator[str]:
    ours = figures["ours"]
    own = statistics.median(ours.milliseconds)
    for contender, found in figures.items():
        if contender == "ours":
            yield f"{own:.2f}{spread(found.milliseconds)}"
            continue
        taken = statistics.median(found.milliseconds)
        ratios = np.array(ours.errors) / np.array(found.errors)
        times = f"{taken:.1f}{spread(found.milliseconds)} ({taken / own:.1f}x)"
        yield f"{times} {np.median(ratios):.5f}, {ratios.max():.4f}"


def spread(milliseconds: list[float]) -> str:
    """Return the quartiles, where there are several measurements."""
    if len(milliseconds) < 2:
        return ""
    low, _, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
    return f" [{low:.2f} to {high:.2f}]"


Factors = tuple[NDArray[np.floating], NDArray[np.floating]]
Contender = Callable[[Matrix, int], list[Factors]]


def ours(matrices: Matrix, components: int) -> list[Factors]:
    x = torch.from_numpy(matrices)
    found = factorize(x[0], components) if len(x) == 1 else factorize(x, components)
    each = [found] if len(x) == 1 else found.unbind()
    return [(one.weights.numpy(), one.directions.numpy()) for one in each]


def scikit_learn(**options: object) -> Callable[[Matrix, int], list[Factors]]:
    def run(matrices: Matrix, components: int) -> list[Factors]:
        models = [NMF(components, **options) for _ in matrices]
        return [(model.fit_transform(x), model.components_) for model, x in zip(models, matrices, strict=True)]

    return run


def pytorch_nmf(matrices: Matrix, components: int) -> list[Factors]:
    from torchnmf import nmf

    found = []
    for x in torch.from_numpy(matrices):
        torch.manual_seed(0)
        network = nmf.NMF(x.shape, rank=components)
        network.fit(x, beta=2)
        found.append((network.H.detach().numpy(), network.W.detach().numpy().T))
    return found


def semi_nmf(matrices: Matrix, components: int) -> list[Factors]:
    found = factorize(torch.from_numpy(matrices), components, method="semi-nmf").unbind()
    return [(one.weights.numpy(), one.directions.numpy()) for one in found]


def multiplicative_updates(matrices: Matrix, components: int) -> list[Factors]:
    """Ding, Li and Jordan 2010, equations 10 and 11."""
    found = []
    for x in matrices.astype(np.float64):
        w = np.eye(components)[KMeans(components, n_init=1, random_state=0).fit(x).labels_] + 0.2
        before = np.inf
        for iteration in range(3000):
            h = np.linalg.pinv(w.T @ w) @ (w.T @ x)
            if iteration % 50 == 0:
                now = float(np.square(x - w @ h).sum())
                if before - now <= 1e-5 * now:
                    break
                before = now
            along, alone = x @ h.T, h @ h.T
            upper = along.clip(0) + w @ (-alone).clip(0)
            lower = (-along).clip(0) + w @ alone.clip(0)
            w = w * np.sqrt(upper / np.maximum(lower, 1e-12))
        found.append((w, h))
    return found


def overcomplete(matrices: Matrix, components: int) -> list[Factors]:
    if "overcomplete" not in sys.modules:
        found_at = importlib.util.find_spec("overcomplete")
        assert found_at
        assert found_at.submodule_search_locations
        package = ModuleType("overcomplete")  # the package's own loads OpenCV and scikit-image, to draw
        package.__path__ = list(found_at.submodule_search_locations)
        sys.modules["overcomplete"] = package
    from overcomplete.optimization import SemiNMF

    found = []
    for x in torch.from_numpy(matrices):
        torch.manual_seed(0)
        w, h = SemiNMF(components).fit(x)
        found.append((w.numpy(), h.numpy()))
    return found


SEMI_CONTENDERS: dict[str, Contender] = {
    "ours": semi_nmf,
    "multiplicative updates": multiplicative_updates,
}


def ends(matrices: dict[str, Matrix]) -> Table:
    """Count the factorizations that end in scikit-learn's groups."""
    cases = [(x, components) for x in matrices["mixed4d"] for components in range(3, 13)]
    others = [(x, components) for name in matrices for x in matrices[name][:11] for components in (4, 6, 8, 10)]
    table = Table(title="that end in scikit-learn's groups (nndsvd, cd)")
    for heading in ("activations", "every r > 0.99", "worst r", "our error's ratio to scikit-learn's: largest"):
        table.add_column(heading)
    for name, some in (("the article's, 3 to 12 groups", cases), (f"{len(others)} real ones", others)):
        worst, ratios = [], []
        for x, components in some:
            model = NMF(components, init="nndsvd", tol=1e-6, max_iter=4000)
            w = model.fit_transform(x.astype(np.float64))
            ((own, directions),) = ours(x[None], components)
            matched = np.corrcoef(w.T, own.T)[:components, components:]
            worst.append(float(matched[linear_sum_assignment(-matched)].min()))
            ratios.append(error(x, own, directions) / error(x, w, model.components_))
        agree = sum(each > 0.99 for each in worst)
        table.add_row(name, f"{agree} of {len(some)}", f"{min(worst):.4f}", f"{max(ratios):.5f}")
    return table


CONTENDERS: dict[str, Contender] = {
    "ours": ours,
    "scikit-learn": scikit_learn(),
    "with nndsvd": scikit_learn(init="nndsvd"),
    "pytorch-NMF": pytorch_nmf,
}


def error(x: Matrix, w: NDArray[np.floating], h: NDArray[np.floating]) -> float:
    exact = x.astype(np.float64)
    return float(np.linalg.norm(exact - w.astype(np.float64) @ h.astype(np.float64)) / np.linalg.norm(exact))


def reference() -> list[Path]:
    return sorted((SHARED / "reference/distill").glob("*_mixed4d.npy"))


def views(count: int, architecture: str, layers: Sequence[str]) -> dict[str, Matrix]:
    """Return, by layer, activations [count, positions, channels] of the photos and of random crops of them."""
    parts: dict[str, list[Matrix]] = {layer: [] for layer in layers}
    for captured in activations(count, architecture, layers):
        for layer in layers:
            parts[layer].append(captured[layer])
    return {layer: np.concatenate(part) for layer, part in parts.items()}


def activations(count: int, architecture: str, chosen: Sequence[str], at_once: int = 16) -> Iterator[dict[str, Matrix]]:
    network = load_network(architecture, WEIGHTS[architecture])
    photos = [Image.open(file).convert("RGB") for file in sorted((SHARED / "photos").iterdir())]
    rng = np.random.default_rng(0)
    for first in range(0, count, at_once):
        pixels = np.stack([view(photos, number, rng) for number in range(first, min(first + at_once, count))])
        captured = capture(network, torch.from_numpy(pixels), chosen, logits=False, gradients=[])
        yield {
            layer: maps.permute(0, 2, 3, 1).flatten(1, 2).contiguous().numpy()
            for layer, maps in captured.layers.items()
        }


def view(photos: list[Image.Image], number: int, rng: np.random.Generator) -> Matrix:
    """Return a random square of a photo, normalized [3, 224, 224]; the first of each photo is as large as possible."""
    photo = photos[number % len(photos)]
    side = min(photo.size) if number < len(photos) else int(min(photo.size) * rng.uniform(0.3, 1))
    left, top = (int(rng.integers(0, size - side + 1)) for size in photo.size)
    square = np.asarray(photo.crop((left, top, left + side, top + side)).resize((224, 224)), np.float32) / 255
    normal = (square - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return normal.transpose(2, 0, 1).astype(np.float32)


def one_basis(images: int, architecture: str) -> Table:
    """Find one basis for many images in a separate process, and factorize all at once in this one."""
    with tempfile.TemporaryDirectory() as folder:
        file, layer = Path(folder) / "activations.f16", LAYERS[architecture][1]
        with file.open("wb") as out:
            for layers in activations(images, architecture, [layer]):
                layers[layer].astype(np.float16).tofile(out)
                channels = layers[layer].shape[2]
        command = [sys.executable, __file__, "--basis", str(file), "--channels", str(channels)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        started = time.perf_counter()
        whole = factorize(torch.cat(list(batches(file, channels))), BASIS_GROUPS)
        seconds = time.perf_counter() - started
    table = Table(title=f"one basis of {BASIS_GROUPS} groups for {images} images, {found['rows']} x {channels}")
    for heading in ("", "relative error", "seconds", "memory, MiB: peak", "of it before any activations"):
        table.add_column(heading)
    memory = [f"{found[name]:.0f}" for name in ("peak", "before")]
    table.add_row("batch by batch", f"{found['relative_error']:.5f}", f"{found['seconds']:.1f}", *memory)
    table.add_row("all at once", f"{float(whole.relative_error):.5f}", f"{seconds:.1f}", "", "")
    return table


def batches(file: Path, channels: int) -> Iterator[torch.Tensor]:
    """Read activations 4,096 rows at a time, as the service does."""
    with file.open("rb") as source:
        while len(numbers := np.fromfile(source, np.float16, 4096 * channels)):
            yield torch.from_numpy(numbers.reshape(-1, channels).astype(np.float32))


def measure_basis(file: Path, channels: int) -> dict[str, float]:
    before, started = peak_memory(), time.perf_counter()
    basis = factorize_batches(lambda: batches(file, channels), BASIS_GROUPS)
    seconds = time.perf_counter() - started
    figures = {"relative_error": basis.relative_error, "rows": basis.rows, "seconds": seconds}
    return figures | {"peak": peak_memory(), "before": before}


def peak_memory() -> float:
    """Return the peak memory of this process in MiB. getrusage would include the parent's memory at the fork."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
