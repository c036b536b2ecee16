"""Train `parts` from nothing and write its weights: python -m striate_service.models.parts.train

The recipe: pictures drawn on the fly, none seen twice; GoogLeNet's classifier on the average of the last block's map,
and like GoogLeNet's two auxiliary ones below it, which here tell the parts that show at each position, so that not only
classes are learned; first as they are, then adversarially (one random and one gradient step, Wong et al. 2020), which
makes features that a person recognizes (Engstrom et al. 2019).
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from striate_service.models.parts import CLASSES, STD, WEIGHTS
from striate_service.models.parts.feed import Batch, batches, normalize
from striate_service.models.parts.muon import Muon
from striate_service.models.parts.network import Parts
from striate_service.models.parts.pictures import PARTS

PICTURES = 100_000
BATCH = 32
MUON_RATE, ADAM_RATE = 0.03, 3e-3  # at their peaks: of convolutions, and of all else
WARM_UP = 0.02  # share of the training over which the rates rise; from there they fall to 0, linearly
LABEL_SMOOTHING = 0.05
EPSILON = 6 / 255  # of the adversary: the largest change of a pixel, of values from 0 to 1
CLEAN, FULL = 0.3, 0.6  # shares of the training where the adversary begins, and where it has grown to EPSILON
AUXILIARY_LAYERS = {"mixed4d": 160, "mixed5b": 208}  # and their channels
CROSS_ENTROPY, OVERLAP = 1.0, 2.0  # weights of an auxiliary classifier's two losses
PRESENT = 0.3  # of a position: a part that covers no more anywhere in a batch is not there to be overlapped
AUXILIARY_L1 = 2e-3  # keeps each part on few channels
SAVE_EVERY = 200  # steps


def main() -> None:
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    _keep_memory()
    network = Parts(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    auxiliary = {layer: PartsHere(channels, len(PARTS)) for layer, channels in AUXILIARY_LAYERS.items()}
    weights = list(chain(network.parameters(), *(classifier.parameters() for classifier in auxiliary.values())))
    kernels = [weight for weight in weights if weight.dim() == 4]
    others = [weight for weight in weights if weight.dim() != 4]
    optimizers = [Muon(kernels, lr=MUON_RATE), torch.optim.AdamW(others, lr=ADAM_RATE)]
    steps = options.pictures // BATCH
    rates = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps)) for optimizer in optimizers]
    feed = batches(options.seed, options.pictures, BATCH, parts=PARTS, processes=options.processes)
    with _progress(steps) as advance:
        for step, batch in enumerate(feed):
            epsilon = options.epsilon * min(1.0, max(0.0, (step / steps - CLEAN) / (FULL - CLEAN)))
            loss, accuracy = learn(network, auxiliary, batch, epsilon)
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


def _rate(share: float) -> float:
    """Return the learning rate after a share of the training, relative to its peak."""
    return min(1.0, (share + 0.001) / WARM_UP) * (1 - share)


class PartsHere(nn.Module):
    """An auxiliary classifier: which parts show where, from a layer's maps [N, C, h, w]; logits [N, parts, h, w].

    Each part is a sum of channels with weights that are not negative, so that a channel is evidence for a part, never
    against one.
    """

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(parts, channels) * 0.2 - 0.05)
        self.bias = nn.Parameter(torch.full((parts,), -4.0))  # most parts are absent from most positions

    def forward(self, maps: Tensor) -> Tensor:
        return functional.conv2d(maps.float(), self.weights.relu()[:, :, None, None], self.bias)

    def loss(self, maps: Tensor, coverage: Tensor) -> Tensor:
        """Compare with the share of each position that each part covers, [N, parts, H, W].

        Cross-entropy alone hardly sees small and rare parts; intersection over union (Rahman and Wang 2016) sees all
        parts of the batch alike.
        """
        shares = functional.adaptive_avg_pool2d(coverage, (maps.shape[2], maps.shape[3]))
        logits: Tensor = self(maps)
        entropy = functional.binary_cross_entropy_with_logits(logits, shares, reduction="none").sum(1).mean()
        said = logits.sigmoid()
        both, total = (said * shares).sum((0, 2, 3)), (said + shares).sum((0, 2, 3))
        overlap = both / (total - both).clamp(min=1e-3)
        missed = (1 - overlap)[shares.amax((0, 2, 3)) > PRESENT].mean()
        return CROSS_ENTROPY * entropy + OVERLAP * missed + AUXILIARY_L1 * self.weights.relu().sum(1).mean()


def learn(network: Parts, auxiliary: Mapping[str, PartsHere], batch: Batch, epsilon: float) -> tuple[Tensor, float]:
    """Return the loss on a batch, made adversarial, and the share of it that is classified correctly."""
    images = normalize(batch.images)
    if epsilon > 0:
        images = attack(network, images, batch.labels, epsilon)
    maps: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(layer).register_forward_hook(lambda *call, layer=layer: maps.update({layer: call[2]}))
        for layer in auxiliary
    ]
    with _fast_precision():
        logits = network(images).float()
    for handle in handles:
        handle.remove()
    loss = functional.cross_entropy(logits, batch.labels, label_smoothing=LABEL_SMOOTHING)
    for layer, classifier in auxiliary.items():
        loss = loss + classifier.loss(maps[layer], batch.coverage)
    return loss, (logits.argmax(1) == batch.labels).float().mean().item()


def attack(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int = 1) -> Tensor:
    """Return pictures changed against the network, no pixel by more than `epsilon` (Madry et al. 2018).

    Args:
        images: normalized, [N, 3, H, W].
        epsilon: of values from 0 to 1.
    """
    room = (epsilon / torch.tensor(STD)).view(1, 3, 1, 1)
    stride = room * (1.25 if steps == 1 else 2.5 / steps)
    change = (torch.rand_like(images) * 2 - 1) * room
    for _ in range(steps):
        change.requires_grad_()
        with _fast_precision():
            loss = functional.cross_entropy(network(images + change).float(), labels)
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


def _fast_precision() -> torch.autocast:
    """bfloat16 where the processor computes with it: 1.4 times faster."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _keep_memory() -> None:
    """Have glibc keep freed memory instead of returning it to the system after each step: 1.4 times faster."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_threshold = -1, -3  # malloc.h
            libc.mallopt(mmap_threshold, 2**30)
            libc.mallopt(trim_threshold, 2**30)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[float, float], None]]:
    """Show a progress bar, and every SAVE_EVERY steps a line, which a log file shows too."""
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        recent: deque[tuple[float, float]] = deque(maxlen=SAVE_EVERY)
        started = time.monotonic()

        def advance(loss: float, accuracy: float) -> None:
            recent.append((loss, accuracy))
            progress.advance(task)
            step = int(progress.tasks[task].completed)
            if step % SAVE_EVERY == 0 or step == steps:
                mean_loss, mean_accuracy = (sum(values) / len(recent) for values in zip(*recent, strict=True))
                minutes = (time.monotonic() - started) / 60
                line = (
                    f"step {step} of {steps}: loss {mean_loss:.3f}, accuracy {mean_accuracy:.3f}, {minutes:.1f} minutes"
                )
                progress.console.print(line, highlight=False)

        yield advance


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded model on pictures that are drawn meanwhile.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="how many to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epsilon", type=float, default=EPSILON, help="of the adversary; 0: none")
    parser.add_argument("--processes", type=int, default=1, help="that draw")
    parser.add_argument("--threads", type=int, default=1, help="that learn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
