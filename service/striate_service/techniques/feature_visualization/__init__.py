"""Feature visualization: optimize an image until it excites a neuron (Olah, Mordvintsev and Schubert, Distill 2017).

Lucid's four ideas, one file each: *what to maximize* (objectives.py), *how the image is parameterized*
(parameterization.py), *how it is transformed* (transformations.py), and *the loop* (loop.py). The recipe chooses the
second and the third; transparency.py decides which pixels become transparent. Objectives are values
(techniques/objective.py); `objective` registers a function as one (registry.py). Many icons are optimized in one batch,
each for its own objective. They share only the random transformations, so an icon does not depend on the others in the
batch. Facets of one objective are the exception: they are optimized to differ.
"""

from striate_service.techniques.feature_visualization.loop import State, advance, pictures, start
from striate_service.techniques.feature_visualization.redirected_relu import RedirectedReLU
from striate_service.techniques.feature_visualization.registry import objective

__all__ = ["RedirectedReLU", "State", "advance", "objective", "pictures", "start"]
