"""Train `parts` from scratch and write its weights: python -m striate_service.models.embedded.train

Pictures are drawn during the training, and none is used twice. As in GoogLeNet, a classifier reads the average of the
last block's map, and two auxiliary classifiers read blocks below it. The auxiliary ones learn which parts show at each
position, so that the network learns more than classes. Training starts with the pictures as they are and continues
adversarially (one random and one gradient step, Wong et al. 2020), which leads to features that a person recognizes
(Engstrom et al. 2019). A second, shorter stage refines mixed4d until its maps are about the sum of their parts, each
along a direction of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from striate_service.models.embedded import CLASSES, STD, WEIGHTS
from striate_service.models.embedded.feed import Batch, batches, normalize
from striate_service.models.embedded.muon import Muon
from striate_service.models.embedded.network import Parts
from striate_service.models.embedded.pictures import PARTS

BATCH = 32
MUON_RATE, ADAM_RATE = 0.03, 3e-3  # peak learning rates: of convolutions, and of all other parameters
WARM_UP = 0.02  # share of a stage in which the learning rates rise; then they fall to 0, linearly
LABEL_SMOOTHING = 0.05
EPSILON = 6 / 255  # the adversary's largest change of a pixel, whose values are from 0 to 1
AUXILIARY_LAYERS = {"mixed4d": 160, "mixed5b": 208}  # and their channels
CROSS_ENTROPY, OVERLAP = 1.0, 2.0  # weights of an auxiliary classifier's two losses
PRESENT = 0.3  # share of a position: only parts that cover more of some position in a batch count for OVERLAP
AUXILIARY_L1 = 2e-3  # weight of the L1 norm that lets each part depend on few channels
SIZE_RATE, SMALLEST = 0.02, 1.0  # of the running mean of parts' sizes: its rate, and its floor, in positions
SAVE_EVERY = 200  # steps
# Libraries choose the widest instructions that a processor has, and each kind rounds in its own way. With AVX2, which
# all x86-64 servers have, a seed gives the same weights to the bit on any of them; training takes 1.5 times as long as
# with AVX-512's bfloat16.
ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # its convolutions
    "MKL_CBWR": "AVX2",  # its matrix products
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy, which draws
}


@dataclass(frozen=True)
class Stage:
    name: str
    pictures: int
    """The number of pictures to learn from."""
    rate: float = 1.0
    """Multiplies the learning rates."""
    auxiliary_rate: float = 1.0
    """Multiplies those of the auxiliary classifiers, which start anew in each stage."""
    clean: float = 0.0
    full: float = 0.0
    """Shares of the stage after which the adversary's change starts to grow, and has grown to EPSILON."""
    composition: Mapping[str, float] = field(default_factory=dict)
    """By layer: the weight of `PartsHere.unlike_parts` in its loss."""
    seed: int = 0
    """Added to the training's seed, so that each stage sees other pictures."""

    def epsilon(self, share: float) -> float:
        """Return the adversary's largest change of a pixel after a share of the stage."""
        if share <= self.clean:
            return 0.0
        return EPSILON if share >= self.full else EPSILON * (share - self.clean) / (self.full - self.clean)


STAGES = (
    Stage("learning", 70_400, clean=0.3, full=0.6),
    Stage("refining", 24_000, rate=0.5, auxiliary_rate=8 / 3, composition={"mixed4d": 8.0}, seed=1),
)


def main() -> None:
    options = _options()
    compute_alike()
    torch.set_num_threads(options.threads)
    keep_memory()
    weights: Path | None = options.start
    for stage in STAGES[options.stage :]:
        train(stage, weights, options)
        weights = options.out


def train(stage: Stage, start: Path | None, options: argparse.Namespace) -> None:
    """Train through one stage, from the weights in `start` or from scratch, and write the weights to `options.out`."""
    seed = options.seed + stage.seed
    torch.manual_seed(seed)
    network = Parts(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    auxiliary = {layer: PartsHere(channels, len(PARTS)) for layer, channels in AUXILIARY_LAYERS.items()}
    if start is not None:
        network.load_state_dict(load_file(start))
    for layer, weight in stage.composition.items():
        auxiliary[layer].composition = weight
    kernels = [weight for weight in network.parameters() if weight.dim() == 4]
    others = [weight for weight in network.parameters() if weight.dim() != 4]
    readers = list(chain.from_iterable(classifier.parameters() for classifier in auxiliary.values()))
    groups = [
        {"params": others, "lr": ADAM_RATE * stage.rate},
        {"params": readers, "lr": ADAM_RATE * stage.auxiliary_rate},
    ]
    optimizers = [Muon(kernels, lr=MUON_RATE * stage.rate), torch.optim.AdamW(groups)]
    steps = stage.pictures // BATCH
    rates = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_after(step / steps)) for optimizer in optimizers
    ]
    feed = batches(seed, stage.pictures, BATCH, parts=PARTS, processes=options.processes)
    with show_progress(stage.name, steps) as advance:
        for step, batch in enumerate(feed):
            loss, accuracy = learn(network, auxiliary, batch, stage.epsilon(step / steps))
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.step()
                rate.step()
            advance(loss.item(), accuracy)
            if (step + 1) % SAVE_EVERY == 0:
                save(network, options.out)
    save(network, options.out)


def rate_after(share: float) -> float:
    """Return the learning rate after a share of a stage, relative to its peak."""
    return min(1.0, (share + 0.001) / WARM_UP) * (1 - share)


class PartsHere(nn.Module):
    """An auxiliary classifier of the parts at each position: maps [N, C, h, w] to logits [N, parts, h, w].

    A part's logit is a sum of channels with non-negative weights, so that a channel is evidence for a part, never
    against one.
    """

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.composition = 0.0  # weight of `unlike_parts` in the loss
        self.weights = nn.Parameter(torch.rand(parts, channels) * 0.2 - 0.05)
        self.bias = nn.Parameter(torch.full((parts,), -4.0))  # most parts are absent from most positions
        self.size = torch.full((parts,), 4.0)  # running mean of a part's squared shares, summed over a picture

    def forward(self, maps: Tensor) -> Tensor:
        return functional.conv2d(maps, self.weights.relu()[:, :, None, None], self.bias)

    def loss(self, maps: Tensor, coverage: Tensor) -> Tensor:
        """Return the loss against the share of each position that each part covers, [N, parts, H, W].

        Cross-entropy alone gives hardly any weight to small and rare parts; intersection over union (Rahman and Wang
        2016) gives the same weight to all parts of the batch.
        """
        shares = functional.adaptive_avg_pool2d(coverage, (maps.shape[2], maps.shape[3]))
        logits: Tensor = self(maps)
        entropy = functional.binary_cross_entropy_with_logits(logits, shares, reduction="none").sum(1).mean()
        said = logits.sigmoid()
        both, total = (said * shares).sum((0, 2, 3)), (said + shares).sum((0, 2, 3))
        overlap = both / (total - both).clamp(min=1e-3)
        missed = (1 - overlap)[shares.amax((0, 2, 3)) > PRESENT].mean()
        loss = CROSS_ENTROPY * entropy + OVERLAP * missed + AUXILIARY_L1 * self.weights.relu().sum(1).mean()
        if self.composition > 0:
            loss = loss + self.composition * self.unlike_parts(maps, shares)
        return loss

    def unlike_parts(self, maps: Tensor, shares: Tensor) -> Tensor:
        """Return 1 - the cosine between the maps and the sum of their parts, each along a direction of its own.

        This is what a factorization looks for, X about W H, with W known. Shares are scaled so that a small part weighs
        as much as a large one. Where no part shows, the sum is 0, and so should the maps be.
        """
        sizes = (shares * shares).sum((2, 3))  # [N, parts]
        present = sizes > 0
        with torch.no_grad():
            here = sizes.sum(0) / present.sum(0).clamp(min=1)
            self.size = torch.where(present.any(0), self.size.lerp(here, SIZE_RATE), self.size)
        strengths = shares * self.size.clamp(min=SMALLEST)[:, None, None] ** -0.5
        directions = functional.normalize(self.weights.relu(), dim=1)
        composed = torch.einsum("nphw,pc->nchw", strengths, directions)
        return 1 - functional.cosine_similarity(maps.flatten(), composed.flatten(), dim=0)


def learn(network: Parts, auxiliary: Mapping[str, PartsHere], batch: Batch, epsilon: float) -> tuple[Tensor, float]:
    """Return the loss on a batch, attacked by up to `epsilon`, and the share of it that is classified correctly."""
    images = normalize(batch.images)
    if epsilon > 0:
        images = attack(network, images, batch.labels, epsilon)
    maps: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(layer).register_forward_hook(lambda *call, layer=layer: maps.update({layer: call[2]}))
        for layer in auxiliary
    ]
    logits = network(images)
    for handle in handles:
        handle.remove()
    loss = functional.cross_entropy(logits, batch.labels, label_smoothing=LABEL_SMOOTHING)
    for layer, classifier in auxiliary.items():
        loss = loss + classifier.loss(maps[layer], batch.coverage)
    return loss, (logits.argmax(1) == batch.labels).float().mean().item()


def attack(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int = 1) -> Tensor:
    """Return adversarial pictures, no pixel of which differs by more than `epsilon` (Madry et al. 2018).

    Args:
        images: normalized, [N, 3, H, W].
        epsilon: for pixels whose values are from 0 to 1.
    """
    room = (epsilon / torch.tensor(STD)).view(1, 3, 1, 1)
    stride = room * (1.25 if steps == 1 else 2.5 / steps)
    change = (torch.rand_like(images) * 2 - 1) * room
    for _ in range(steps):
        change.requires_grad_()
        loss = functional.cross_entropy(network(images + change), labels)
        (gradient,) = torch.autograd.grad(loss, change)
        change = (change.detach() + stride * gradient.sign()).clamp(-room, room)
    return (images + change).detach()


def save(network: nn.Module, path: Path) -> None:
    """Write the weights in half precision."""
    state = {name: (v.half() if v.is_floating_point() else v).contiguous() for name, v in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(state, partial)
    partial.replace(path)


def compute_alike(module: str = "striate_service.models.embedded.train") -> None:
    """Restart this command with ARITHMETIC, which libraries read at import, unless the environment has it."""
    if platform.machine() in ("x86_64", "AMD64") and not ARITHMETIC.items() <= os.environ.items():
        arguments = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | ARITHMETIC)


def keep_memory() -> None:
    """Have glibc keep freed memory instead of returning it to the system after each step: 1.4 times faster."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3  # malloc.h
            libc.mallopt(mmap_threshold, 2**30)
            libc.mallopt(trim_threshold, 2**30)


@contextmanager
def show_progress(stage: str, steps: int, every: int = SAVE_EVERY) -> Iterator[Callable[[float, float], None]]:
    """Show a progress bar, and every few steps a line, which a log file shows too."""
    columns = (TextColumn(stage), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(stage, total=steps)
        recent: deque[tuple[float, float]] = deque(maxlen=every)
        started = time.monotonic()

        def advance(loss: float, accuracy: float) -> None:
            recent.append((loss, accuracy))
            progress.advance(task)
            step = int(progress.tasks[task].completed)
            if step % every == 0 or step == steps:
                mean_loss, mean_accuracy = (sum(values) / len(recent) for values in zip(*recent, strict=True))
                minutes = (time.monotonic() - started) / 60
                figures = f"loss {mean_loss:.3f}, accuracy {mean_accuracy:.3f}, {minutes:.1f} minutes"
                line = f"{stage}, step {step} of {steps}: {figures}"
                progress.console.print(line, highlight=False)

        yield advance


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded model on pictures that are drawn meanwhile.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--stage", type=int, default=0, choices=range(len(STAGES)), help="the first to go through")
    parser.add_argument("--start", type=Path, help="the weights that it starts from; needed but for stage 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="that draw")
    parser.add_argument("--threads", type=int, default=1, help="that learn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
