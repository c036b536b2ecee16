"""Tasks about neuron groups: finding them, for several callers at once, and what the network makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from striate_service.backends.local.messages import Failure, Refusal
from striate_service.models.layers import capture
from striate_service.techniques.attribution import group_effects, group_gradients
from striate_service.techniques.factorization import Factorization, choose_components, factorize, project
from striate_service.techniques.fidelity import fidelity
from striate_service.techniques.outcomes import Refused, attempt
from striate_service.techniques.part import Part
from striate_service.techniques.tasks import FactorizeActivationsTask, FactorizeLayersTask, FactorizeTask

LogitsWith = Callable[[Tensor, str, Tensor], Tensor]
"""From pixels [N, ...], a layer, and outputs of it [N, C, H, W]: the logits that the network has with these."""


@dataclass(frozen=True)
class Groups:
    """K groups in N images."""

    factorization: Factorization
    shape: tuple[int, int, int]
    """N, H, W"""
    choices: Tensor | None = None
    """[T, 2]: each number of groups that was tried, and its relative error."""

    @property
    def spatial(self) -> Tensor:
        """[N, H, W, K]"""
        return self.factorization.weights.view(*self.shape, -1)

    @property
    def reconstruction(self) -> Tensor:
        """[N, C, H, W]"""
        return reconstruction(self.spatial, self.factorization.directions)

    @property
    def arrays(self) -> dict[str, Tensor]:
        """As `FactorizeActivationsTask` returns them."""
        found = self.factorization
        arrays = {
            "spatial": self.spatial,
            "directions": found.directions,
            "relative_error": found.relative_error,
            "importance": found.importance,
        }
        return arrays if self.choices is None else arrays | {"choices": self.choices}


def reconstruction(spatial: Tensor, directions: Tensor) -> Tensor:
    """Return what groups [..., H, W, K] along directions [K, C] add up to, [..., C, H, W]."""
    return (spatial @ directions).movedim(-1, -3)


def groups_of_activations(
    tasks: Sequence[FactorizeActivationsTask], layers: Sequence[Tensor]
) -> list[dict[str, Tensor] | Refusal | Failure]:
    """Factorize each task's activations [N, C, H, W], its images together, and tasks of one shape in one batch."""
    problems = [_Problem(layer, task.components, task.rectify) for task, layer in zip(tasks, layers, strict=True)]
    return [found.arrays if isinstance(found, Groups) else found for found in _find_together(problems)]


def explain_groups(
    tasks: Sequence[FactorizeTask], parts: Sequence[Part], logits_with: LogitsWith
) -> list[dict[str, Tensor] | Refusal | Failure]:
    """Carry out tasks on the same forward. Those of one shape are factorized in one batch, and those of one layer share
    one forward through what follows it.
    """
    groups = _find_together([_Problem.of(task, part) for task, part in zip(tasks, parts, strict=True)])
    with_groups: dict[int, Tensor] = {}
    by_layer: dict[str, list[int]] = defaultdict(list)
    for number, (task, found) in enumerate(zip(tasks, groups, strict=True)):
        if isinstance(found, Groups) and parts[number].logits is not None and (task.class_count or task.classes):
            by_layer[task.layer].append(number)
    for layer, numbers in by_layer.items():
        pixels = torch.cat([parts[number].pixels for number in numbers])
        outputs = torch.cat([found.reconstruction for number in numbers if isinstance(found := groups[number], Groups)])
        logits = logits_with(pixels, layer, outputs)
        sizes = [len(parts[number].pixels) for number in numbers]
        with_groups |= zip(numbers, torch.split(logits, sizes), strict=True)
    return [
        attempt(_explained, task, part, found, with_groups.get(number)) if isinstance(found, Groups) else found
        for number, (task, part, found) in enumerate(zip(tasks, parts, groups, strict=True))
    ]


def layers_with_flows(
    task: FactorizeLayersTask,
    part: Part,
    groups: Sequence[dict[str, Tensor] | Refusal | Failure],
    network: nn.Module,
) -> dict[str, Tensor] | Refusal | Failure:
    """Return the groups of several layers, and how those of one feed those of the next.

    Args:
        groups: one result a layer; the first that is none is the answer.
    """
    found: list[dict[str, Tensor]] = []
    for each in groups:
        if not isinstance(each, dict):
            return each
        found.append(each)
    steps = list(zip(task.layers, found, strict=True))
    result = {f"{layer} {name}": array for layer, each in steps for name, array in each.items()}
    with torch.enable_grad():  # a forward of its own: the shared one may have kept no record of what led to what
        layers = capture(network, part.pixels, task.layers, gradients=task.layers).layers
        for (path, earlier), (later_path, later) in pairwise(steps):
            gradients = group_gradients(layers[later_path], layers[path], later["spatial"], later["directions"])
            result[f"{path} flow"], result[f"{path} flow_residual"] = group_effects(
                layers[path].detach(), gradients, earlier["spatial"], earlier["directions"]
            )
    return result


@dataclass(frozen=True)
class _Problem:
    layer: Tensor
    """[N, C, H, W]"""
    components: int
    """0: as many as the activations ask for."""
    rectify: bool
    directions: Tensor | None = None
    """[K, C], to project onto."""

    @classmethod
    def of(cls, task: FactorizeTask, part: Part) -> _Problem:
        layer, directions = part.layers[task.layer], part.inputs.get("directions")
        given = None if directions is None else torch.from_numpy(directions).to(layer.device)
        return cls(layer, task.components, task.rectify, given)


def _find_together(problems: Sequence[_Problem]) -> list[Groups | Refusal | Failure]:
    found: dict[int, Groups | Refusal | Failure] = {}
    matrices: dict[int, Tensor] = {}
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, problem in enumerate(problems):
        matrix = attempt(_matrix, problem.layer, problem.rectify)
        if not isinstance(matrix, Tensor):
            found[number] = matrix
            continue
        matrices[number] = matrix
        alone = problem.directions is not None or not problem.components
        alike[problem.layer.shape, problem.components, number if alone else None].append(number)
    for numbers in alike.values():
        first, chosen = problems[numbers[0]], [matrices[number] for number in numbers]
        images, _, height, width = first.layer.shape
        result = attempt(_find, chosen, first.components, (images, height, width), first.directions)
        each = result if isinstance(result, list) else [result] * len(numbers)
        found |= zip(numbers, each, strict=True)
    return [found[number] for number in range(len(problems))]


def _find(
    matrices: Sequence[Tensor], components: int, shape: tuple[int, int, int], directions: Tensor | None = None
) -> list[Groups]:
    """Find groups in matrices [N*H*W, C] of one shape: given ones, so many, or as many as each asks for."""
    if directions is not None:
        return [Groups(project(matrix, directions), shape) for matrix in matrices]
    if components:
        return [Groups(each, shape) for each in factorize(torch.stack(list(matrices)), components).unbind()]
    groups = []
    for matrix in matrices:
        choice = choose_components(matrix)
        errors = (1 - torch.tensor(choice.explained)).clamp(min=0).sqrt()
        choices = torch.stack([torch.tensor(choice.candidates, dtype=errors.dtype), errors], dim=1)
        groups.append(Groups(choice.factorization, shape, choices))
    return groups


def _matrix(layer: Tensor, rectify: bool) -> Tensor:
    """Return activations [N, C, H, W] as a non-negative matrix [N*H*W, C].

    Raises:
        Refused: they are no such thing.
    """
    if not torch.isfinite(layer).all():
        raise Refused("activations", "hold NaN or infinity; only finite numbers can be factorized")
    if not rectify and layer.min() < 0:
        raise Refused(
            "activations",
            f"hold negative values (as low as {layer.min():.3g}), which non-negative factorization cannot explain; "
            "choose a layer after a ReLU, or set rectify to count them as 0",
        )
    return layer.clamp(min=0).permute(0, 2, 3, 1).reshape(-1, layer.shape[1])


def _explained(task: FactorizeTask, part: Part, groups: Groups, logits: Tensor | None) -> dict[str, Tensor]:
    layer = part.layers[task.layer]
    result = groups.arrays | {"classes": part.classes[0].int()}
    if task.layer in part.gradients:
        result["effects"], result["residual"] = group_effects(
            layer, part.gradients[task.layer], groups.spatial, groups.factorization.directions
        )
    if logits is not None and part.logits is not None:
        result["kl_divergence"], result["same_top_class"] = fidelity(part.logits, logits)
    return result
