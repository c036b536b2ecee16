"""Neuron groups of images or activations, in one layer or several, and their effects on targets."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from striate_service.models.description import ModelDescription
from striate_service.techniques.costs import (
    FLOAT_BYTES,
    MOST_CHOICES,
    Cost,
    decomposition_seconds,
    layer_numbers,
    share_after,
)
from striate_service.techniques.methods import Method, MethodChoice
from striate_service.techniques.outcomes import Failure, Refusal, outcome_of
from striate_service.techniques.targets import Target
from striate_service.techniques.tasks.base import (
    Array,
    ForwardNeeds,
    ForwardSlice,
    ImageTask,
    Networks,
    Predictions,
    Task,
    to_array,
)

if TYPE_CHECKING:
    from torch import Tensor

    from striate_service.techniques.groups import Groups, Problem


@dataclass(frozen=True)
class GroupsResult:
    """K groups in N images."""

    spatial: Array
    """[N, H, W, K], >= 0 but for methods whose strengths are signed."""
    directions: Array
    """[K, C], of unit length."""
    relative_error: Array
    """[]"""
    importance: Array
    """[K]"""
    method: Method
    """By which they were found."""
    iterations: Array
    """int64 []; 0 where nothing was iterated."""
    converged: Array
    """bool []: the iterations sufficed."""
    choices: Array | None = None
    """[T, 2]: each number of groups that was tried, and its relative error; None where the number was given."""
    targets: tuple[Target, ...] = ()
    """M: what is explained; none for activations without a network."""
    effects: Array | None = None
    """[N, K, M]; None where nothing is explained."""
    residual: Array | None = None
    """[N, M]: the effects of the activations that the groups leave out."""
    kl_divergence: Array | None = None
    """[N], from `fidelity`."""
    same_top_class: Array | None = None
    """bool [N]"""
    probabilities_then: Array | None = None
    """[N, M]: of the classes of `predictions`, where nothing but the groups is left of the layer."""
    predictions: Predictions | None = None


@dataclass(frozen=True)
class FlowResult:
    """From the K groups of a layer to the L groups of the next."""

    influence: Array
    """[N, K, L]"""
    residual: Array
    """[N, L]"""


@dataclass(frozen=True)
class GroupFlowsResult:
    layers: tuple[GroupsResult, ...]
    flows: tuple[FlowResult, ...]
    """From each layer but the last to the next."""
    predictions: Predictions | None


@dataclass(frozen=True)
class MaskedGroupsResult:
    values: Array
    """[R, M]"""


@dataclass(frozen=True, eq=False)
class FactorizeTask(ImageTask[GroupsResult]):
    too_costly: ClassVar = (
        "images",
        "send fewer of them, or ask for fewer groups, classes or targets, or a deeper layer",
    )

    layer: str
    components: int
    """0: chosen by the activations."""
    rectify: bool
    method: MethodChoice = "auto"
    directions: Array | None = None
    """[K, C]: project onto these, which `method` found. None: find groups."""
    smooth_max_pool: bool = False
    """Let gradients pass max pools as `techniques.max_pooling` says."""

    @property
    def rate_key(self) -> str:
        return _rate_key(self.kind, self.method)

    @property
    def forward(self) -> ForwardNeeds:
        return _forward_needs(self, (self.layer,))

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        layer = model.layer_by_name[self.layer]
        numbers, targets = layer_numbers(layer), self.explained_count
        positions, components = images * numbers // layer.channels, self.components or MOST_CHOICES
        passes = images * (1 + (2 * targets + 1) * share_after(model, layer))
        alone = _factorization(positions, layer.channels, self.components, self.method)
        along_groups = targets * positions * components  # `group_effects`
        return Cost(
            forwards=passes,
            other_seconds=alone.other_seconds,
            memory_bytes=alone.memory_bytes + FLOAT_BYTES * (images * numbers * (2 + targets) + along_groups),
            result_bytes=alone.result_bytes + FLOAT_BYTES * images * (components + 1) * targets + self.target_bytes,
        )

    @classmethod
    def run_batch(
        cls, tasks: Sequence[FactorizeTask], forwards: Sequence[ForwardSlice | None], networks: Networks
    ) -> list[GroupsResult | Refusal | Failure]:
        """Factorize tasks of one shape together, and run the rest of the network once for all tasks of a layer."""
        from striate_service.techniques.groups import find_groups

        slices = [forward for forward in forwards if forward]
        groups = find_groups([_problem(task, forward, networks) for task, forward in zip(tasks, slices, strict=True)])
        replaced = _logits_with_groups(tasks, slices, groups, networks)
        return [
            found
            if isinstance(found, Refusal | Failure)
            else outcome_of(_explained, task, forward, found, replaced.get(number), networks.activation(task.model))
            for number, (task, forward, found) in enumerate(zip(tasks, slices, groups, strict=True))
        ]


@dataclass(frozen=True, eq=False)
class FactorizeLayersTask(ImageTask[GroupFlowsResult]):
    too_costly: ClassVar = ("images", "send fewer of them, or ask for fewer layers, groups, classes or targets")

    layers: tuple[str, ...]
    """In forward order."""
    components: int
    """Of each layer; 0: chosen for each by its activations."""
    rectify: bool
    method: MethodChoice = "auto"
    smooth_max_pool: bool = False
    """As in `FactorizeTask`, between layers too."""

    @property
    def rate_key(self) -> str:
        return _rate_key(self.kind, self.method)

    @property
    def forward(self) -> ForwardNeeds:
        return _forward_needs(self, self.layers)

    @property
    def _layer_tasks(self) -> list[FactorizeTask]:
        return [
            FactorizeTask(self.model, self.targets, self.class_count, layer, self.components, self.rectify, self.method)
            for layer in self.layers
        ]

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        layers = [model.layer_by_name[path] for path in self.layers]
        costs = [task.cost(model, images) for task in self._layer_tasks]
        components = self.components or MOST_CHOICES
        gradients = max(images * components * layer_numbers(earlier) for earlier in layers[:-1])  # `group_gradients`
        between = images * (1 + 2 * components * (len(layers) - 1))
        return Cost(
            forwards=sum(cost.forwards for cost in costs) + between,
            other_seconds=sum(cost.other_seconds for cost in costs),
            memory_bytes=sum(cost.memory_bytes for cost in costs) + 2 * FLOAT_BYTES * gradients,
            result_bytes=sum(cost.result_bytes for cost in costs)
            + FLOAT_BYTES * images * (components + 1) * components * (len(layers) - 1),
        )

    @classmethod
    def run_batch(
        cls, tasks: Sequence[FactorizeLayersTask], forwards: Sequence[ForwardSlice | None], networks: Networks
    ) -> list[GroupFlowsResult | Refusal | Failure]:
        """Find the groups of all tasks and layers together, as `FactorizeTask` does."""
        pairs = list(zip(tasks, forwards, strict=True))
        single = [(each, forward) for task, forward in pairs for each in task._layer_tasks]
        found = iter(
            FactorizeTask.run_batch([each for each, _ in single], [forward for _, forward in single], networks)
        )
        groups = [[next(found) for _ in task.layers] for task in tasks]
        return [task._combined(forward, own, networks) for (task, forward), own in zip(pairs, groups, strict=True)]

    def _combined(
        self, forward: ForwardSlice | None, groups: Sequence[GroupsResult | Refusal | Failure], networks: Networks
    ) -> GroupFlowsResult | Refusal | Failure:
        """Return the groups of all layers and their flows; if a layer has no groups, its refusal or failure."""
        found = []
        for each in groups:
            if isinstance(each, Refusal | Failure):
                return each
            found.append(each)
        return outcome_of(self._with_flows, forward, found, networks)

    def _with_flows(
        self, forward: ForwardSlice | None, groups: Sequence[GroupsResult], networks: Networks
    ) -> GroupFlowsResult:
        """Return the groups of each layer, and the flows from each layer to the next."""
        from striate_service.techniques.groups import flows

        assert forward
        of_layers = [
            (networks.layer(self.model, path), networks.to_device(each.spatial), networks.to_device(each.directions))
            for path, each in zip(self.layers, groups, strict=True)
        ]
        influences = flows(networks.module(self.model), forward.pixels, of_layers, smooth=self.smooth_max_pool)
        return GroupFlowsResult(
            tuple(groups),
            tuple(FlowResult(to_array(influence), to_array(residual)) for influence, residual in influences),
            forward.predictions,
        )


@dataclass(frozen=True, eq=False)
class FactorizeActivationsTask(Task[GroupsResult]):
    too_costly: ClassVar = ("activations", "send fewer of them, or ask for fewer groups")

    activations: Array
    """float32 [N, C, H, W]"""
    components: int
    """0: chosen by the activations."""
    rectify: bool
    method: MethodChoice = "auto"

    @property
    def rate_key(self) -> str:
        return _rate_key(self.kind, self.method)

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        count, channels, height, width = self.activations.shape
        return _factorization(count * height * width, channels, self.components, self.method)

    @classmethod
    def run_batch(
        cls,
        tasks: Sequence[FactorizeActivationsTask],
        forwards: Sequence[ForwardSlice | None],
        networks: Networks,
    ) -> list[GroupsResult | Refusal | Failure]:
        """Factorize tasks of one shape together."""
        from striate_service.techniques.groups import Problem, find_groups

        problems = [
            Problem(networks.to_device(task.activations), task.components, task.method, task.rectify) for task in tasks
        ]
        return [found if isinstance(found, Refusal | Failure) else _result(found) for found in find_groups(problems)]


@dataclass(frozen=True, eq=False)
class MaskedGroupsTask(Task[MaskedGroupsResult]):
    """Targets of an image when a layer's output is replaced by the weighted sum of its groups."""

    too_costly: ClassVar = ("sobol_points", "ask for fewer points or groups")

    layer: str
    targets: tuple[Target, ...]
    """No boxes."""
    image: Array
    """[1, ...], as `ImageTask` takes images."""
    spatial: Array
    """[H, W, K]"""
    directions: Array
    """[K, C]"""
    masks: Array
    """[R, K], factors from 0 to 1."""

    def cost(self, model: ModelDescription | None, images: int) -> Cost:
        assert model
        layer = model.layer_by_name[self.layer]
        return Cost(
            forwards=len(self.masks) * share_after(model, layer),
            memory_bytes=2 * FLOAT_BYTES * len(self.masks) * layer_numbers(layer),
            result_bytes=FLOAT_BYTES * len(self.masks) * len(self.targets),
        )

    def run(self, forward: ForwardSlice | None, networks: Networks) -> MaskedGroupsResult:
        from striate_service.techniques.groups import reconstruction

        spatial, directions, masks = map(networks.to_device, (self.spatial, self.directions, self.masks))
        outputs = reconstruction(spatial * masks[:, None, None], directions)
        pixels = networks.inputs(self.model, self.image).expand(len(outputs), -1, -1, -1)
        return MaskedGroupsResult(to_array(networks.values_with(self.model, pixels, self.layer, outputs, self.targets)))


def _forward_needs(task: FactorizeTask | FactorizeLayersTask, layers: tuple[str, ...]) -> ForwardNeeds:
    explains = bool(task.explained_count)
    gradients = layers if explains else ()
    return ForwardNeeds(
        layers, gradients, task.targets, task.class_count, explains, smooth_max_pool=task.smooth_max_pool
    )


def _rate_key(kind: str, method: MethodChoice) -> str:
    """Return what tasks share a rate: both descents have one; scikit-learn's methods each their own."""
    return kind if method in ("auto", "nmf", "semi-nmf") else f"{kind}, {method}"


def _factorization(positions: int, channels: int, components: int, method: MethodChoice) -> Cost:
    """Return the cost of a factorization into `components` groups; 0: of all numbers that are tried."""
    by: Method = "nmf" if method == "auto" else method
    tried = [components] if components else range(1, min(MOST_CHOICES, positions, channels) + 1)
    most = max(tried)
    copies = 4 if by in ("nmf", "semi-nmf") else 12  # of the activations; scikit-learn's methods take float64
    return Cost(
        forwards=0.0,
        other_seconds=sum(decomposition_seconds(by, positions, channels, number) for number in tried),
        memory_bytes=FLOAT_BYTES * (copies * positions * channels + 2 * most * (positions + channels)),
        result_bytes=FLOAT_BYTES * most * (positions + channels + 1),
    )


def _problem(task: FactorizeTask, forward: ForwardSlice, networks: Networks) -> Problem:
    from striate_service.techniques.groups import Problem

    directions = None if task.directions is None else networks.to_device(task.directions)
    return Problem(forward.layers[task.layer], task.components, task.method, task.rectify, directions)


def _logits_with_groups(
    tasks: Sequence[FactorizeTask],
    forwards: Sequence[ForwardSlice],
    groups: Sequence[Groups | Refusal | Failure],
    networks: Networks,
) -> dict[int, Tensor]:
    """Return, by index of the task, the logits with the layer's output replaced by its groups."""
    import torch

    by_layer: dict[str, list[tuple[int, ForwardSlice, Groups]]] = defaultdict(list)
    for number, (task, forward, found) in enumerate(zip(tasks, forwards, groups, strict=True)):
        classifies = forward.logits is not None and forward.logits.shape[1] > 0
        if not isinstance(found, Refusal | Failure) and classifies and task.explained_count:
            by_layer[task.layer].append((number, forward, found))
    logits: dict[int, Tensor] = {}
    for layer, members in by_layer.items():
        pixels = torch.cat([forward.pixels for _, forward, _ in members])
        outputs = torch.cat([found.reconstruction for _, _, found in members])
        together = networks.logits_with(tasks[members[0][0]].model, pixels, layer, outputs)
        parts = torch.split(together, [len(forward.pixels) for _, forward, _ in members])
        logits |= {number: part for (number, _, _), part in zip(members, parts, strict=True)}
    return logits


def _explained(
    task: FactorizeTask, forward: ForwardSlice, groups: Groups, replaced: Tensor | None, activation: str
) -> GroupsResult:
    """Return groups with their effects on targets, and their fidelity where the network classifies.

    Args:
        replaced: the logits with the layer's output replaced by the groups.
        activation: what makes probabilities of the model's logits.
    """
    from striate_service.models.outputs import probabilities
    from striate_service.techniques.attribution import group_effects
    from striate_service.techniques.fidelity import fidelity

    effects = residual = divergence = same = then = None
    if task.layer in forward.gradients:
        layer, gradients = forward.layers[task.layer], forward.gradients[task.layer]
        found = group_effects(layer, gradients, groups.spatial, groups.factorization.directions)
        effects, residual = map(to_array, found)
    if replaced is not None and forward.logits is not None:
        divergence, same = map(to_array, fidelity(forward.logits, replaced, activation))
        if forward.predictions:
            then = to_array(probabilities(replaced.float(), activation))
            then = np.take_along_axis(then, forward.predictions.classes, axis=1)
    return dataclasses.replace(
        _result(groups),
        targets=forward.targets,
        effects=effects,
        residual=residual,
        kl_divergence=divergence,
        same_top_class=same,
        probabilities_then=then,
        predictions=forward.predictions,
    )


def _result(groups: Groups) -> GroupsResult:
    found = groups.factorization
    return GroupsResult(
        spatial=to_array(groups.spatial),
        directions=to_array(found.directions),
        relative_error=to_array(found.relative_error),
        importance=to_array(found.importance),
        method=groups.method,
        iterations=to_array(found.iterations),
        converged=to_array(found.converged),
        choices=None if groups.choices is None else to_array(groups.choices),
    )
