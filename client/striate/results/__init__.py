"""What calls return: data only. `striate.show` draws it, and nothing here imports that.

Arrays are numpy's. N: images, C: channels, H and W: rows and columns of a layer, P: positions, K: neurons or groups,
M: classes.
"""

from __future__ import annotations

from striate.results.activations import Activations
from striate.results.bases import Basis, BuildProgress
from striate.results.dictionaries import SemanticDictionaryData
from striate.results.examples import ChannelExamples, IndexProgress, LayerExamples
from striate.results.groups import Choice, Crop, FactorizationData, FactorizedLayersData, Fidelity, Flow, Group
from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.neurons import Example, Icon, Label, Neuron, RenderProgress

__all__ = [
    "Activations",
    "Basis",
    "BuildProgress",
    "ChannelExamples",
    "Choice",
    "Crop",
    "Example",
    "FactorizationData",
    "FactorizedLayersData",
    "Fidelity",
    "Flow",
    "Group",
    "Icon",
    "IndexProgress",
    "Label",
    "Layer",
    "LayerExamples",
    "Model",
    "Neuron",
    "Predictions",
    "RenderProgress",
    "SemanticDictionaryData",
    "View",
]
