"""What commands print for programs: JSON."""

from __future__ import annotations

import json
from typing import Any

from striate import Basis, Drift, Factorization, Label, LayerExamples, Model, Monitor, Neuron


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def model_facts(model: Model) -> dict[str, Any]:
    return {**vars(model), "layers": [vars(layer) for layer in model.layers]}


def neuron_facts(neuron: Neuron) -> dict[str, Any]:
    return {
        "channel": neuron.channel,
        "name": neuron.name,
        "activation": neuron.activation,
        "effects": neuron.effects,
        "icon": (neuron.negative_icon_file or neuron.icon_file if neuron.sign < 0 else neuron.icon_file).status,
    }


def groups_facts(found: Factorization) -> dict[str, Any]:
    return {
        "basis": found.basis,
        "method": found.method,
        "convergence": vars(found.convergence) if found.convergence else None,
        "relative_error": found.relative_error,
        "fidelity": [vars(each) for each in found.fidelity],
        "choices": [vars(each) for each in found.choices],
        "groups": [
            {
                "name": group.name,
                "color": group.color,
                "importance": group.importance,
                "effects": group.effects,
                "sobol_indices": group.sobol_indices,
                "crops": [vars(crop) for crop in group.crops],
            }
            for group in found.groups
        ],
    }


def basis_facts(basis: Basis) -> dict[str, Any]:
    return {
        "name": basis.name,
        "model": basis.model.name,
        "version": basis.model.version,
        "layer": basis.layer,
        "components": basis.components,
        "images": basis.image_count,
        "relative_error": basis.relative_error,
        "created": f"{basis.created.isoformat()}Z",
        "groups": [
            {"name": group.name, "color": group.color, "importance": group.importance, "channels": group.channels}
            for group in basis.groups
        ],
    }


def examples_facts(found: LayerExamples) -> list[dict[str, Any]]:
    return [
        {
            "channel": each.channel,
            "name": each.label.text,
            "source": each.label.source,
            "score": each.label.score,
            "quantiles": {str(share): value for share, value in each.quantiles.items()},
            "mean_peaks": each.mean_peaks,
            "examples": [
                {"image": one.image_name, "class": one.class_name, "activation": one.activation}
                for one in each.examples
            ],
        }
        for each in found.channels.values()
    ]


def label_facts(label: Label) -> dict[str, Any]:
    times = {name: time and time.isoformat() for name, time in (("created", label.created), ("ended", label.ended))}
    return vars(label) | times


def monitor_facts(monitor: Monitor) -> dict[str, Any]:
    return {
        **vars(monitor),
        "model": monitor.model.name,
        "version": monitor.model.version,
        "created": f"{monitor.created.isoformat()}Z",
        "last_observed": f"{monitor.last_observed.isoformat()}Z" if monitor.last_observed else None,
    }


def drift_facts(found: Drift) -> dict[str, Any]:
    return {
        "monitor": found.monitor.name,
        "images": found.images,
        "reference_images": found.reference_images,
        "enough": found.enough,
        "significant": found.significant,
        "layers": [{**vars(each), "sparsity": vars(each.sparsity)} for each in found.layers],
        "bases": [
            {"basis": each.basis, "before": each.novelty_before, "now": each.novelty_now, **vars(each.change)}
            for each in found.bases
        ],
        "concepts": [
            {
                "name": each.name,
                "score": each.score,
                "significant": each.significant,
                "channels": each.channels,
                "most_drifted": {"layer": each.most_drifted.layer, "channel": each.most_drifted.channel},
            }
            for each in found.concepts
        ],
        "groups": [
            {"basis": each.basis, "group": each.group, "name": each.name, "slices": each.slices, **vars(each.change)}
            for each in found.groups
        ],
        "channels": [
            {
                "layer": each.layer,
                "channel": each.channel,
                "name": each.name,
                "mean": each.mean,
                "slices": each.slices,
                **vars(each.change),
            }
            for each in found.channels
        ],
        "classes": [{"name": each.name, **vars(each.change)} for each in found.classes],
        "slices": [vars(each) for each in found.slices],
    }
