"""Train `parts_vit` and write its weights: python -m striate_service.models.embedded.train_vit

`parts` is its teacher (Hinton et al. 2015): the vision transformer starts with its first convolutions, which stay as
they are, and learns from pictures that are drawn meanwhile their classes, what `parts` says of them, the maps of its
mixed4d (Romero et al. 2015), and which parts show at each token. Without that much to learn from each picture, a
transformer would need millions of them.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from striate_service.models.embedded import CLASSES, VIT_WEIGHTS, WEIGHTS
from striate_service.models.embedded.feed import Batch, batches, normalize
from striate_service.models.embedded.muon import Muon
from striate_service.models.embedded.network import Parts
from striate_service.models.embedded.pictures import PARTS
from striate_service.models.embedded.train import (
    PartsHere,
    compute_alike,
    keep_memory,
    rate_after,
    save,
    show_progress,
)
from striate_service.models.embedded.vit import GRID, WIDTH, PartsViT

BATCH = 16
SAVE_EVERY = 50  # steps
PICTURES = 6_400  # each is learned from twice, as it is and mirrored: drawing takes as long as learning
LEARNED = 0.75  # share of the schedule that is gone through: the weights that ship stopped at step 600 of 800
TWIN_AFTER = 40  # batches, from a batch to the mirrored one
MUON_RATE, ADAM_RATE = 0.02, 2e-3  # peak learning rates: of matrices and kernels, and of all other parameters
READER_RATE = 1e-2  # of what reads the tokens during the training only
LABEL_SMOOTHING = 0.05
TEMPERATURE = 2.0  # of the teacher's and the student's logits
TEACHING, MATCHING, LOCATING = 1.0, 1.0, 0.5  # weights of the losses besides that of classes
STEM = ("conv1", "conv2", "conv3", "mixed3a", "mixed3b")
TAUGHT, TEACHING_LAYER, TEACHING_CHANNELS = "blocks.2", "mixed4d", 160
LOCATED = ("blocks.2", "norm")  # layers whose tokens learn which parts show


class Lessons(nn.Module):
    """All that the network learns from a batch, with what reads its tokens meanwhile."""

    def __init__(self, teacher: Parts) -> None:
        super().__init__()
        self._teacher = [teacher.eval().requires_grad_(False)]  # in a list: not a part of this module
        self.match = nn.Linear(WIDTH, TEACHING_CHANNELS)
        self.parts = nn.ModuleDict({_key(layer): PartsHere(WIDTH, len(PARTS)) for layer in LOCATED})

    def loss(self, network: PartsViT, batch: Batch) -> tuple[Tensor, float]:
        """Return the loss on a batch, and the share of it that is classified correctly."""
        images = normalize(batch.images)
        logits, tokens = _read(network, images, {TAUGHT, *LOCATED})
        with torch.no_grad():
            taught, maps = _read(self._teacher[0], images, {TEACHING_LAYER})
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=LABEL_SMOOTHING)
        said, true = ((each / TEMPERATURE).log_softmax(1) for each in (logits, taught))
        loss = loss + TEACHING * TEMPERATURE**2 * functional.kl_div(said, true, reduction="batchmean", log_target=True)
        wanted = maps[TEACHING_LAYER].flatten(2).transpose(1, 2)  # [N, T, 160]
        loss = loss + MATCHING * (self.match(tokens[TAUGHT]) - wanted).square().mean() / wanted.square().mean()
        for layer in LOCATED:
            on_grid = tokens[layer].transpose(1, 2).reshape(len(images), -1, GRID, GRID)
            loss = loss + LOCATING * self.parts[_key(layer)].loss(on_grid, batch.coverage)  # type: ignore[operator]
        return loss, (logits.argmax(1) == batch.labels).float().mean().item()


def main() -> None:
    options = _options()
    compute_alike("striate_service.models.embedded.train_vit")
    torch.set_num_threads(options.threads)
    keep_memory()
    torch.manual_seed(options.seed)
    network = PartsViT(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = Parts(len(CLASSES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher.load_state_dict(load_file(WEIGHTS))
    lessons = Lessons(teacher)
    for name in STEM:
        network.get_submodule(name).load_state_dict(teacher.get_submodule(name).state_dict())
        network.get_submodule(name).eval().requires_grad_(False)
    learning = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    matrices = [weight for name, weight in learning.items() if _is_matrix(name, weight)]
    others = [weight for name, weight in learning.items() if not _is_matrix(name, weight)]
    groups = [
        {"params": others, "lr": ADAM_RATE},
        {"params": list(lessons.parameters()), "lr": READER_RATE},
    ]
    optimizers = [Muon(matrices, lr=MUON_RATE), torch.optim.AdamW(groups)]
    steps = 2 * (options.pictures // BATCH)
    rates = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_after(step / steps)) for optimizer in optimizers
    ]
    end = int(LEARNED * steps)
    feed = batches(options.seed, options.pictures, BATCH, parts=PARTS, processes=options.processes)
    with show_progress("learning", end, SAVE_EVERY) as advance:
        for step, batch in enumerate(islice(with_twins(feed), end)):
            loss, accuracy = lessons.loss(network, batch)
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


def with_twins(feed: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches, and some time after each the mirrored one."""
    twins: deque[Batch] = deque()
    for batch in feed:
        yield batch
        twins.append(Batch(batch.images.flip(2), batch.labels, batch.coverage.flip(3)))
        if len(twins) > TWIN_AFTER:
            yield twins.popleft()
    yield from twins


def _is_matrix(name: str, weight: Tensor) -> bool:
    return weight.dim() > 1 and name not in ("positions", "head.weight")


def _read(network: nn.Module, images: Tensor, layers: set[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits, and the outputs of some layers."""
    outputs: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(layer).register_forward_hook(lambda *call, layer=layer: outputs.update({layer: call[2]}))
        for layer in layers
    ]
    logits = network(images)
    for handle in handles:
        handle.remove()
    return logits, outputs


def _key(layer: str) -> str:
    return layer.replace(".", "_")  # names of modules hold no dot


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the vision transformer, taught by `parts`.")
    parser.add_argument("--out", type=Path, default=VIT_WEIGHTS, help="where the weights go")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="to learn from")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="that draw")
    parser.add_argument("--threads", type=int, default=2, help="that learn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
