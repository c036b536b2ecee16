import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from striate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IndexExamplesRequest(_message.Message):
    __slots__ = ("start", "images")
    START_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    start: IndexStart
    images: IndexImages
    def __init__(self, start: _Optional[_Union[IndexStart, _Mapping]] = ..., images: _Optional[_Union[IndexImages, _Mapping]] = ...) -> None: ...

class IndexStart(_message.Message):
    __slots__ = ("model", "layers", "fit", "examples")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    model: str
    layers: _containers.RepeatedScalarFieldContainer[str]
    fit: _common_pb2.Fit
    examples: int
    def __init__(self, model: _Optional[str] = ..., layers: _Optional[_Iterable[str]] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., examples: _Optional[int] = ...) -> None: ...

class IndexImages(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[LabelledImage]
    def __init__(self, images: _Optional[_Iterable[_Union[LabelledImage, _Mapping]]] = ...) -> None: ...

class LabelledImage(_message.Message):
    __slots__ = ("image", "class_name", "name")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    image: _common_pb2.Image
    class_name: str
    name: str
    def __init__(self, image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., class_name: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class SkippedImage(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class IndexExamplesResponse(_message.Message):
    __slots__ = ("indexed", "skipped", "layers")
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    indexed: int
    skipped: _containers.RepeatedCompositeFieldContainer[SkippedImage]
    layers: _containers.RepeatedCompositeFieldContainer[IndexedLayer]
    def __init__(self, indexed: _Optional[int] = ..., skipped: _Optional[_Iterable[_Union[SkippedImage, _Mapping]]] = ..., layers: _Optional[_Iterable[_Union[IndexedLayer, _Mapping]]] = ...) -> None: ...

class IndexedLayer(_message.Message):
    __slots__ = ("layer", "named_channels")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    NAMED_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    layer: _common_pb2.Layer
    named_channels: int
    def __init__(self, layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., named_channels: _Optional[int] = ...) -> None: ...

class GetExamplesRequest(_message.Message):
    __slots__ = ("model", "layer", "channels", "examples", "classes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    channels: _containers.RepeatedScalarFieldContainer[int]
    examples: int
    classes: int
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., channels: _Optional[_Iterable[int]] = ..., examples: _Optional[int] = ..., classes: _Optional[int] = ...) -> None: ...

class GetExamplesResponse(_message.Message):
    __slots__ = ("model", "layer", "images", "index_time", "shares", "channels")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    INDEX_TIME_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layer: _common_pb2.Layer
    images: int
    index_time: _timestamp_pb2.Timestamp
    shares: _containers.RepeatedScalarFieldContainer[float]
    channels: _containers.RepeatedCompositeFieldContainer[ChannelExamples]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., images: _Optional[int] = ..., index_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., shares: _Optional[_Iterable[float]] = ..., channels: _Optional[_Iterable[_Union[ChannelExamples, _Mapping]]] = ...) -> None: ...

class ChannelExamples(_message.Message):
    __slots__ = ("channel", "label", "examples", "quantiles", "classes")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    channel: int
    label: _common_pb2.Label
    examples: _containers.RepeatedCompositeFieldContainer[_common_pb2.Example]
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    classes: _containers.RepeatedCompositeFieldContainer[ClassResponse]
    def __init__(self, channel: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., examples: _Optional[_Iterable[_Union[_common_pb2.Example, _Mapping]]] = ..., quantiles: _Optional[_Iterable[float]] = ..., classes: _Optional[_Iterable[_Union[ClassResponse, _Mapping]]] = ...) -> None: ...

class ClassResponse(_message.Message):
    __slots__ = ("class_name", "images", "mean_peak")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MEAN_PEAK_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    images: int
    mean_peak: float
    def __init__(self, class_name: _Optional[str] = ..., images: _Optional[int] = ..., mean_peak: _Optional[float] = ...) -> None: ...
