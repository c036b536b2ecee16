"""The calls that a client makes: one file each, with the call's options as a frozen dataclass that documents them.

A call builds its request and reads its reply, and talks to nobody: the clients in `_async` and `_sync` do that. Only an
image that is given as a path is read here, when it goes into the request and when the part that the network saw is cut
out of it. Calls that take a name and nothing else (GetModel, UnloadModel, DeleteBasis) need no file: the clients build
their messages.
"""

from __future__ import annotations

from striate.calls.activations import ActivationsCall, DType, Reduce
from striate.calls.build_basis import BuildBasisCall
from striate.calls.delete_label import DeleteLabelCall
from striate.calls.factorize import FactorizeCall
from striate.calls.factorize_layers import FactorizeLayersCall
from striate.calls.get_basis import GetBasisCall
from striate.calls.get_examples import GetExamplesCall
from striate.calls.index_examples import IndexExamplesCall
from striate.calls.list_bases import ListBasesCall
from striate.calls.list_labels import ListLabelsCall
from striate.calls.load_model import LoadModelCall
from striate.calls.named_neurons import NamedNeuron
from striate.calls.options import Fit
from striate.calls.render_icons import RenderIconsCall
from striate.calls.semantic_dictionary import Attribution, SemanticDictionaryCall
from striate.calls.set_label import SetLabelCall

__all__ = [
    "ActivationsCall",
    "Attribution",
    "BuildBasisCall",
    "DType",
    "DeleteLabelCall",
    "FactorizeCall",
    "FactorizeLayersCall",
    "Fit",
    "GetBasisCall",
    "GetExamplesCall",
    "IndexExamplesCall",
    "ListBasesCall",
    "ListLabelsCall",
    "LoadModelCall",
    "NamedNeuron",
    "Reduce",
    "RenderIconsCall",
    "SemanticDictionaryCall",
    "SetLabelCall",
]
