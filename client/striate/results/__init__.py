"""What calls return: data only. `striate.show` draws it, and nothing here imports that.

Arrays are numpy's. N: images, C: channels, H and W: rows and columns of a layer, P: positions, K: neurons or groups,
M: classes.

What callers name is in `striate`. The names below are for those who took them from here; a new result needs no line.
"""

from striate.results.activations import Activations
from striate.results.icons import Icon
from striate.results.images import Predictions, View
from striate.results.models import Layer, Model
from striate.results.neurons import Example, Label, Neuron, RenderProgress

__all__ = [
    "Activations",
    "Example",
    "Icon",
    "Label",
    "Layer",
    "Model",
    "Neuron",
    "Predictions",
    "RenderProgress",
    "View",
]
