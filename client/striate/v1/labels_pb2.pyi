import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from striate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NeuronLabel(_message.Message):
    __slots__ = ("model", "layer", "channel", "label", "create_time", "direction", "end_time")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layer: str
    channel: int
    label: _common_pb2.Label
    create_time: _timestamp_pb2.Timestamp
    direction: _common_pb2.Tensor
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[str] = ..., channel: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., direction: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SetLabelRequest(_message.Message):
    __slots__ = ("model", "layer", "channel", "label", "direction", "model_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    channel: int
    label: _common_pb2.Label
    direction: _common_pb2.Tensor
    model_version: str
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., channel: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., direction: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., model_version: _Optional[str] = ...) -> None: ...

class SetLabelResponse(_message.Message):
    __slots__ = ("label",)
    LABEL_FIELD_NUMBER: _ClassVar[int]
    label: NeuronLabel
    def __init__(self, label: _Optional[_Union[NeuronLabel, _Mapping]] = ...) -> None: ...

class DeleteLabelRequest(_message.Message):
    __slots__ = ("model", "layer", "channel", "direction")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    channel: int
    direction: _common_pb2.Tensor
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., channel: _Optional[int] = ..., direction: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class DeleteLabelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLabelsRequest(_message.Message):
    __slots__ = ("model", "layer", "include_history", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    include_history: bool
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., include_history: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLabelsResponse(_message.Message):
    __slots__ = ("labels", "next_page_token")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[NeuronLabel]
    next_page_token: str
    def __init__(self, labels: _Optional[_Iterable[_Union[NeuronLabel, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
