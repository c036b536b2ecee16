"""See what the layers of a vision network respond to, through a Striate server.

import striate

with striate.Client("localhost:50051") as client:
    dictionary = client.semantic_dictionary("photo.jpg", "mixed4d")
    dictionary.to_html("dictionary.html")
"""

from __future__ import annotations

from importlib.metadata import version

from striate import aio
from striate.client import Client
from striate.errors import (
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    MessageTooLarge,
    NotFound,
    QuotaExceeded,
    ResourceExhausted,
    StriateError,
    Unavailable,
)
from striate.local import local
from striate.results import (
    Activations,
    Factorization,
    Group,
    Label,
    Layer,
    Model,
    Neuron,
    RenderProgress,
    SemanticDictionary,
)

__version__ = version("striate")

__all__ = [
    "Activations",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Factorization",
    "Group",
    "InternalError",
    "InvalidArgument",
    "Label",
    "Layer",
    "MessageTooLarge",
    "Model",
    "Neuron",
    "NotFound",
    "QuotaExceeded",
    "RenderProgress",
    "ResourceExhausted",
    "SemanticDictionary",
    "StriateError",
    "Unavailable",
    "aio",
    "local",
]
