"""See what the layers of a vision network respond to, through a Striate server.

import striate

with striate.Client("localhost:50051") as client:
    dictionary = client.semantic_dictionary("photo.jpg", "mixed4d")
    dictionary.to_html("dictionary.html")
"""

from __future__ import annotations

from importlib.metadata import version

from striate import aio
from striate._sync.client import Client
from striate.calls.targets import Box, Class, Embedding, Output, Region
from striate.errors import (
    AlreadyExists,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    MessageTooLarge,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ResourceExhausted,
    StriateError,
    Unauthenticated,
    Unavailable,
)
from striate.image_folders import image_folder
from striate.images import LabelledImage, ObservedImage
from striate.label_files import read_labels, write_labels
from striate.local import local
from striate.profile_files import read_profile, write_profile
from striate.results.activations import Activations
from striate.results.bases import Basis, BuildProgress
from striate.results.examples import ChannelExamples, IndexProgress, LayerExamples
from striate.results.groups import Convergence, Crop, Fidelity, Flow, Group
from striate.results.icons import Icon, IconProgress
from striate.results.models import Layer, Model
from striate.results.monitoring import (
    BasisDrift,
    Change,
    ChannelDrift,
    ClassDrift,
    ConceptDrift,
    GroupDrift,
    LayerDrift,
    Monitor,
    ObserveProgress,
    Profile,
    SliceSummary,
)
from striate.results.neurons import Example, Label, Neuron, RenderProgress
from striate.show import Drift, Factorization, FactorizedLayers, SemanticDictionary
from striate.transport import Tls
from striate.watching import Watch

__version__ = version("striate")

__all__ = [
    "Activations",
    "AlreadyExists",
    "Basis",
    "BasisDrift",
    "Box",
    "BuildProgress",
    "Cancelled",
    "Change",
    "ChannelDrift",
    "ChannelExamples",
    "Class",
    "ClassDrift",
    "Client",
    "ConceptDrift",
    "ConnectionFailed",
    "Convergence",
    "Crop",
    "DeadlineExceeded",
    "Drift",
    "Embedding",
    "Example",
    "Factorization",
    "FactorizedLayers",
    "FailedPrecondition",
    "Fidelity",
    "Flow",
    "Group",
    "GroupDrift",
    "Icon",
    "IconProgress",
    "IndexProgress",
    "InternalError",
    "InvalidArgument",
    "Label",
    "LabelledImage",
    "Layer",
    "LayerDrift",
    "LayerExamples",
    "MessageTooLarge",
    "Model",
    "Monitor",
    "Neuron",
    "NotFound",
    "ObserveProgress",
    "ObservedImage",
    "Output",
    "PermissionDenied",
    "Profile",
    "QuotaExceeded",
    "Region",
    "RenderProgress",
    "ResourceExhausted",
    "SemanticDictionary",
    "SliceSummary",
    "StriateError",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Watch",
    "aio",
    "image_folder",
    "local",
    "read_labels",
    "read_profile",
    "write_labels",
    "write_profile",
]
