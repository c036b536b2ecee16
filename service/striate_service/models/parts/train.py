"""Train the embedded model: `python -m striate_service.models.parts.train`. Reads from top to bottom like a recipe.

Every picture is drawn once, for one step, so there is nothing to memorize. Each step trains on pictures that were moved
a little towards being mistaken (one signed gradient step from a random start: Wong, Rice and Kolter 2020), because
robust networks look at shapes and parts where others look at texture, and their icons show it.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from striate_service.models.parts import MEAN, STD, WEIGHTS
from striate_service.models.parts.classes import CLASSES
from striate_service.models.parts.network import parts
from striate_service.models.parts.pictures import draw

BATCH = 64
PICTURES = 40_000
LEARNING_RATE = 4e-3  # of AdamW, at its peak
PERTURBATION = 4 / 255  # how far the adversary may move a pixel
TEST_SEED, TRAIN_SEED = 1, 2  # the first of a picture's seeds: no training picture is ever tested on
TEST_PICTURES = 1600


class Pictures(IterableDataset[tuple[Tensor, int]]):
    """Fresh pictures, numbered; each worker process draws its share."""

    def __init__(self, seed: int, first_seed: int, count: int, difficulty: float = 1.0) -> None:
        self.seed, self.first_seed, self.count, self.difficulty = seed, first_seed, count, difficulty

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(start, self.count, step):
            picture = draw((self.seed, self.first_seed, number), number % len(CLASSES), self.difficulty)
            yield torch.from_numpy(picture.image), picture.label


def normalize(pictures: Tensor) -> Tensor:
    """[N, H, W, 3] of 0 to 255 becomes what the network takes."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / std


def train(seed: int, pictures: int, workers: int) -> nn.Module:
    """Return a trained network."""
    torch.manual_seed(seed)
    network = parts().to(memory_format=torch.channels_last)
    loader = DataLoader(Pictures(seed, TRAIN_SEED, pictures), BATCH, num_workers=workers, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=pictures // BATCH + 1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    reach = PERTURBATION / STD[0]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=pictures // BATCH)
        right = 0.0
        for images, labels in loader:
            clean = normalize(images)
            perturbation = torch.empty_like(clean).uniform_(-reach, reach).requires_grad_()
            (gradient,) = torch.autograd.grad(loss(network(clean + perturbation), labels), perturbation)
            perturbation = (perturbation.detach() + 1.25 * reach * gradient.sign()).clamp(-reach, reach)
            logits = network(clean + perturbation)
            optimizer.zero_grad()
            loss(logits, labels).backward()
            optimizer.step()
            schedule.step()
            right += 0.02 * ((logits.argmax(1) == labels).float().mean().item() - right)
            progress.update(task, advance=1, description=f"training, {right:.0%} right when attacked")
    return network.eval()


@torch.inference_mode()
def accuracy(
    network: nn.Module, seed: int, difficulty: float, workers: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the share of fresh pictures that is recognized, by class: [classes]."""
    loader = DataLoader(Pictures(seed, TEST_SEED, TEST_PICTURES, difficulty), BATCH, num_workers=workers)
    right = torch.zeros(len(CLASSES))
    for images, labels in loader:
        right += torch.bincount(labels[network(normalize(images)).argmax(1) == labels], minlength=len(CLASSES))
    return (right / (TEST_PICTURES / len(CLASSES))).numpy().astype(np.float64)


def write_card(path: Path, network: nn.Module, args: argparse.Namespace, minutes: float) -> None:
    """Say what the model is and how good it is, beside its weights."""
    usual = accuracy(network, args.seed, 1.0, args.workers)
    hard = accuracy(network, args.seed, 2.0, args.workers)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    rows = "\n".join(f"| {name} | {a:.1%} | {b:.1%} |" for name, a, b in zip(CLASSES, usual, hard, strict=True))
    path.write_text(f"""# Model card: parts

GoogLeNet-style classifier of {len(CLASSES)} classes of drawn pictures, 128 x 128, the embedded default model of Striate.

- Data: {args.pictures:,} pictures from `pictures.py`, each drawn once for one step; no picture is stored.
- Training: AdamW, one cycle, batches of {BATCH}, each picture moved by up to {PERTURBATION * 255:.0f}/255 towards being mistaken.
- Size: {parameters:,} parameters; float16, {args.out.stat().st_size / 2**20:.2f} MiB.
- SHA-256: `{hashlib.sha256(args.out.read_bytes()).hexdigest()}`
- Made on {datetime.date.today()} in {minutes:.0f} minutes by
  `python -m striate_service.models.parts.train --seed {args.seed} --pictures {args.pictures}`

Accuracy on {TEST_PICTURES} fresh pictures: **{usual.mean():.1%}**; with twice the noise and occlusion: **{hard.mean():.1%}**.

| class | accuracy | twice the noise and occlusion |
|---|---|---|
{rows}
""")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded model and write its weights and its model card.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="weights file (default: where the package has it)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"how many to train on (default: {PICTURES})")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw (default: 1)")
    args = parser.parse_args()
    started = time.monotonic()
    network = train(args.seed, args.pictures, args.workers)
    minutes = (time.monotonic() - started) / 60
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()
    }
    save_file(half, args.out)
    network.load_state_dict(half)  # what is measured is what ships
    write_card(args.out.with_name("MODEL_CARD.md"), network, args, minutes)


if __name__ == "__main__":
    main()
