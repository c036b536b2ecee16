"""Requests that no client would send, made from the protos' own descriptors.

Each case is a sound request of some method of which one or a few fields are spoilt: absent, extreme, doubled, of
another encoding, of a number that the enum does not have; or whose bytes are. A case depends on its seed alone.
"""

from __future__ import annotations

import io
import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image
from striate.tensors import tensor_from_array
from striate.v1 import bases_pb2, examples_pb2, interpretability_pb2, labels_pb2, models_pb2, monitoring_pb2
from striate.v1 import common_pb2 as pb
from striate_service.models import embedded
from striate_service.techniques.recipe import RECIPES

METHODS: tuple[MethodDescriptor, ...] = tuple(
    method
    for file in (bases_pb2, examples_pb2, interpretability_pb2, labels_pb2, models_pb2, monitoring_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


@dataclass(frozen=True)
class Case:
    seed: str
    method: MethodDescriptor
    messages: Sequence[bytes]
    """One, unless the method takes a stream."""
    metadata: Sequence[tuple[str, str]]

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def case(seed: str) -> Case:
    chance = random.Random(seed)
    method = chance.choice(METHODS)
    messages = [_spoilt(message, chance) for message in _sound(method, chance)]
    if method.client_streaming and chance.random() < 0.2:
        messages = chance.choice([[], messages[:1], messages[1:], messages + messages, messages[::-1]])
    return Case(seed, method, messages, _metadata(chance))


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


_PICTURE = _picture()
_IMAGE = pb.Image(encoded=_PICTURE)
_LAYER, _CHANNELS = "mixed5b", 208  # of the embedded model
_VERSION = json.loads(embedded.LABELS.read_text())["model_version"]
_POSITION = interpretability_pb2.Position(row=1, column=2)
_ACTIVATIONS = interpretability_pb2.ActivationsRequest(
    images=[_IMAGE], layers=[_LAYER], channels=[3, 1], positions=[_POSITION], classes=2
)


_EXPLAINED: Sequence[dict[str, Any]] = (
    {"class_names": ["dog"]},
    {
        "targets": [
            interpretability_pb2.Target(output=3),
            interpretability_pb2.Target(embedding=tensor_from_array(np.ones(len(embedded.CLASSES), np.float32))),
        ]
    },
)


def _sound(method: MethodDescriptor, chance: random.Random) -> Sequence[Message]:
    """Return requests of a method that a server answers."""
    images = [_IMAGE, pb.Image(pixels=tensor_from_array(np.zeros((9, 8, 3), np.uint8)))]
    preprocessed = [pb.Image(preprocessed=tensor_from_array(np.zeros((3, 112, 112), np.float16)))]
    chosen = chance.choice([images, images[:1], preprocessed])
    batch = interpretability_pb2.ImageBatch(images=chosen, layer=_LAYER)
    activations = tensor_from_array(np.ones((1, 8, 3, 4), np.float32))
    source = chance.choice([{"images": batch}, {"activations": activations}])
    direction = tensor_from_array(np.ones(_CHANNELS, np.float32))
    name = chance.choice(["one", "two", "three"])
    sound: dict[str, list[Message]] = {
        "Activations": [_ACTIVATIONS],
        "StreamActivations": [
            interpretability_pb2.StreamActivationsRequest(id=str(number), request=_ACTIVATIONS) for number in range(2)
        ],
        "SemanticDictionary": [
            interpretability_pb2.SemanticDictionaryRequest(
                image=_IMAGE, layer=_LAYER, positions=[_POSITION], omit_icons=True, **chance.choice(_EXPLAINED)
            )
        ],
        "Factorize": [interpretability_pb2.FactorizeRequest(components=2, omit_icons=True, classes=1, **source)],
        "FactorizeLayers": [
            interpretability_pb2.FactorizeLayersRequest(
                images=chosen, layers=["mixed5a", _LAYER], components=2, classes=1, omit_icons=True
            )
        ],
        "RenderIcons": [interpretability_pb2.RenderIconsRequest(layer=_LAYER, channels=[0, 1], omit_icons=True)],
        "CancelIcons": [interpretability_pb2.CancelIconsRequest(model="parts", layer=_LAYER)],
        "WatchIcons": [interpretability_pb2.WatchIconsRequest(keys=_keys(direction))],
        "SetLabel": [
            labels_pb2.SetLabelRequest(layer=_LAYER, channel=1, label=pb.Label(text="ear", score=0.5)),
        ],
        "DeleteLabel": [labels_pb2.DeleteLabelRequest(layer=_LAYER, direction=direction)],
        "ListLabels": [labels_pb2.ListLabelsRequest(layer=_LAYER, page_size=2, page_token="1")],
        "IndexExamples": [
            examples_pb2.IndexExamplesRequest(start=examples_pb2.IndexStart(layers=[_LAYER], examples=2)),
            examples_pb2.IndexExamplesRequest(
                images=examples_pb2.IndexImages(
                    images=[examples_pb2.LabelledImage(image=_IMAGE, class_name="dog", name="a.png")]
                )
            ),
        ],
        "GetExamples": [examples_pb2.GetExamplesRequest(layer=_LAYER, channels=[0, 2], examples=1, classes=1)],
        "ListBases": [bases_pb2.ListBasesRequest(page_size=1, page_token="a")],
        "GetBasis": [bases_pb2.GetBasisRequest(name=name, omit_icons=True)],
        "DeleteBasis": [bases_pb2.DeleteBasisRequest(name=name)],
        "BuildBasis": [
            # More groups than the images have positions, which shows when all are read: a process that factorizes
            # takes seconds to start.
            bases_pb2.BuildBasisRequest(start=bases_pb2.BuildStart(name=name, layer=_LAYER, components=64)),
            bases_pb2.BuildBasisRequest(images=bases_pb2.BuildImages(images=[_IMAGE])),
        ],
        "CreateMonitor": [monitoring_pb2.CreateMonitorRequest(name=name, layers=[_LAYER], bases=[name], window=30)],
        "ListMonitors": [monitoring_pb2.ListMonitorsRequest(page_size=1, page_token="a")],
        "GetMonitor": [monitoring_pb2.GetMonitorRequest(name=name)],
        "DeleteMonitor": [monitoring_pb2.DeleteMonitorRequest(name=name)],
        "Observe": [
            monitoring_pb2.ObserveRequest(start=monitoring_pb2.ObserveStart(monitor=name, reference=True)),
            monitoring_pb2.ObserveRequest(
                images=monitoring_pb2.ObserveImages(
                    images=[monitoring_pb2.ObservedImage(image=_IMAGE, id="a", slice="b", time=Timestamp(seconds=1))]
                )
            ),
        ],
        "AddOutcomes": [
            monitoring_pb2.AddOutcomesRequest(monitor=name, outcomes=[monitoring_pb2.Outcome(id="a", class_name="dog")])
        ],
        "GetDrift": [monitoring_pb2.GetDriftRequest(monitor=name, items=1, pictures=1, omit_icons=True)],
        "ExportProfile": [monitoring_pb2.ExportProfileRequest(monitor=name, omit_pictures=True)],
        "ImportProfile": [
            monitoring_pb2.ImportProfileRequest(
                monitor=name,
                profile=monitoring_pb2.Profile(
                    format=1,
                    layers=[_LAYER],
                    reference=monitoring_pb2.ProfileImages(samples=bytes(16), codes=bytes(9), predicted=[0], times=[1]),
                ),
            )
        ],
        "ListModels": [models_pb2.ListModelsRequest()],
        "GetModel": [models_pb2.GetModelRequest(name="parts")],
        "LoadModel": [
            models_pb2.LoadModelRequest(
                name="more", architecture="parts", weights="embedded", preprocessing=models_pb2.Preprocessing(resize=1)
            )
        ],
        "UnloadModel": [models_pb2.UnloadModelRequest(name="more")],
    }
    return sound[method.name]


def _keys(direction: pb.Tensor) -> Sequence[pb.IconKey]:
    key = pb.IconKey(model_version=_VERSION, layer=_LAYER, recipe=RECIPES["soft"].text)
    found = [pb.IconKey(channel=1), pb.IconKey(direction=direction)]
    for each in found:
        each.MergeFrom(key)
    return found


def _spoilt(message: Message, chance: random.Random) -> bytes:
    copy = type(message)()
    copy.CopyFrom(message)
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 6])):
        spoil_field(copy, chance)
    data = copy.SerializeToString()
    return _spoilt_bytes(data, chance) if chance.random() < 0.15 else data


def spoil_field(message: Message, chance: random.Random) -> None:
    """Spoil one field of a message, or of one within it."""
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    if field.message_type and field.message_type.GetOptions().map_entry:
        _spoil_map(message, field, chance)
    elif field.is_repeated:
        _spoil_repeated(message, field, chance)
    elif field.message_type:
        if chance.random() < 0.15:
            message.ClearField(field.name)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            spoil_field(inner, chance)
    elif chance.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, chance))


def _spoil_map(message: Message, field: FieldDescriptor, chance: random.Random) -> None:
    """Add entries to a map of texts, or take all away."""
    entries, names = getattr(message, field.name), field.message_type.fields_by_name
    if chance.random() < 0.2:
        message.ClearField(field.name)
    for number in range(chance.choice([1, 1, 65, 20_000])):
        entries[f"{_value(names['key'], chance, small=True)}{number or ''}"] = _value(
            names["value"], chance, small=True
        )


_MOST_BYTES = 100_000_000  # of a repeated field: more than a message may have, and not so much that a test takes all


def _spoil_repeated(message: Message, field: FieldDescriptor, chance: random.Random) -> None:
    items = getattr(message, field.name)
    kind = chance.choice(["none", "doubled", "spoilt", "spoilt", "added", "many"])
    if kind == "none":
        message.ClearField(field.name)
    elif kind == "doubled" and items:
        items.extend(list(items))
    elif field.message_type:
        if kind == "many":
            items.extend([GetMessageClass(field.message_type)()] * chance.choice([65, 1000, 20_000]))
        elif items and kind == "spoilt":
            spoil_field(chance.choice(items), chance)
        else:
            spoil_field(items.add(), chance)
    elif kind == "many":
        value, times = _value(field, chance, small=True), chance.choice([65, 1000, 200_000])
        size = len(value) if isinstance(value, str | bytes) else 1
        items.extend([value] * min(times, _MOST_BYTES // max(size, 1)))
    elif items and kind == "spoilt":
        items[chance.randrange(len(items))] = _value(field, chance)
    else:
        items.append(_value(field, chance))


_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "/tmp/\0",
    "a\nb",
    "\t",
    "\x1b[31m",
    "../../etc/passwd",
    "/",
    "/etc",
    "1" * 5000,
    "٣",
    "²",
    "-1",
    "1e999",
    "99999999999999999999",
    "=HYPERLINK(1)",
    "'; DROP TABLE labels; --",
    "\u202egnp.exe",
    "\u0646\u06cc\u0645\u200c\u0641\u0627",  # Persian, with a joiner that is no letter
    "👩‍👩‍👧",
    "犬\u3000耳",
    "%s%n{0}",
    "x" * 300,
    "é" * 5000,
    "mixed4z",
    "mixed4d",
    "conv1",
    "fc",
    "parts",
    "dog",
    "one",
    "fourier",
    "soft",
    "torchvision",
)
_BYTES: tuple[bytes, ...] = (b"", b"\0", _PICTURE, _PICTURE[:200], _PICTURE[:-9], b"\xff" * 12, b"GIF89a", bytes(3 * 4))
_UINTS = (0, 1, 2, 3, 7, 8, 64, 65, 255, 256, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_MOST_SIGNED = {FieldDescriptor.CPPTYPE_INT32: 2**31 - 1, FieldDescriptor.CPPTYPE_INT64: 2**63 - 1}
_FLOATS = (0.0, -0.0, 1.0, 1.5, -1.0, math.nan, math.inf, -math.inf, 5e30, 1e-45)
_ENUMS = (0, 1, 2, 3, 4, 5, 6, 77, -1, 2**31 - 1, -(2**31))


def _value(field: FieldDescriptor, chance: random.Random, *, small: bool = False) -> Any:
    """Return an unlikely value of a field that is no message."""
    if field.enum_type:
        return chance.choice(_ENUMS)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type == FieldDescriptor.TYPE_STRING:
        return "x" * 2**20 if not small and chance.random() < 0.03 else chance.choice(_TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.choice([1, 100, 10_000])) if chance.random() < 0.3 else chance.choice(_BYTES)
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return chance.choice(_FLOATS)
    if most := _MOST_SIGNED.get(field.cpp_type):
        return chance.choice([0, 1, -1, 10**9, most, -most - 1])
    return chance.choice([*_UINTS, 2**64 - 1] if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else _UINTS)


def _spoilt_bytes(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    ways: list[Callable[[], bytes]] = [
        lambda: data[:at],
        lambda: data + data,
        lambda: data[:at] + chance.randbytes(8) + data[at:],
        lambda: data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
        lambda: chance.randbytes(64),
        lambda: b"\xff" * 64,
        lambda: data + b"\x0a\x02\xc3\x28",  # field 1, which is no text in UTF-8
        lambda: data + b"\x0a\xff\xff\xff\xff\x0f",  # field 1 of 4 GiB
        lambda: data + b"\xfa\x3f\x03abc",  # a field that no message has
        lambda: data + b"\x0b" * 200,  # groups within groups
        lambda: data + struct.pack("<BQ", 0x11, 2**63),  # field 2 as a double
    ]
    return chance.choice(ways)()


def _metadata(chance: random.Random) -> Sequence[tuple[str, str]]:
    if chance.random() < 0.9:
        return ()
    return chance.choice(
        [
            (("striate-caller", "x" * 3000),),
            (("striate-caller", f"caller {chance.random()}"),),
            (("striate-priority", "urgent" * 100),),
            (("striate-priority", "batch"), ("striate-priority", "interactive")),
        ]
    )
