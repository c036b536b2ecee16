from striate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_KIND_UNSPECIFIED: _ClassVar[TargetKind]
    TARGET_KIND_CLASS: _ClassVar[TargetKind]
    TARGET_KIND_OUTPUT: _ClassVar[TargetKind]
    TARGET_KIND_EMBEDDING: _ClassVar[TargetKind]
    TARGET_KIND_REGION: _ClassVar[TargetKind]
    TARGET_KIND_BOX: _ClassVar[TargetKind]
TARGET_KIND_UNSPECIFIED: TargetKind
TARGET_KIND_CLASS: TargetKind
TARGET_KIND_OUTPUT: TargetKind
TARGET_KIND_EMBEDDING: TargetKind
TARGET_KIND_REGION: TargetKind
TARGET_KIND_BOX: TargetKind

class Preprocessing(_message.Message):
    __slots__ = ("resize", "crop", "interpolation", "mean", "std", "resize_to", "crop_to")
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATION_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    RESIZE_TO_FIELD_NUMBER: _ClassVar[int]
    CROP_TO_FIELD_NUMBER: _ClassVar[int]
    resize: int
    crop: int
    interpolation: str
    mean: _containers.RepeatedScalarFieldContainer[float]
    std: _containers.RepeatedScalarFieldContainer[float]
    resize_to: _containers.RepeatedScalarFieldContainer[int]
    crop_to: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, resize: _Optional[int] = ..., crop: _Optional[int] = ..., interpolation: _Optional[str] = ..., mean: _Optional[_Iterable[float]] = ..., std: _Optional[_Iterable[float]] = ..., resize_to: _Optional[_Iterable[int]] = ..., crop_to: _Optional[_Iterable[int]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "architecture", "input_shape", "preprocessing", "classes", "layers", "default", "batch_limits", "activation", "target_kinds", "outputs", "target_classes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SHAPE_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    BATCH_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_KINDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TARGET_CLASSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    architecture: str
    input_shape: _containers.RepeatedScalarFieldContainer[int]
    preprocessing: Preprocessing
    classes: _containers.RepeatedScalarFieldContainer[str]
    layers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Layer]
    default: bool
    batch_limits: _containers.RepeatedCompositeFieldContainer[BatchLimit]
    activation: str
    target_kinds: _containers.RepeatedScalarFieldContainer[TargetKind]
    outputs: int
    target_classes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., architecture: _Optional[str] = ..., input_shape: _Optional[_Iterable[int]] = ..., preprocessing: _Optional[_Union[Preprocessing, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., layers: _Optional[_Iterable[_Union[_common_pb2.Layer, _Mapping]]] = ..., default: _Optional[bool] = ..., batch_limits: _Optional[_Iterable[_Union[BatchLimit, _Mapping]]] = ..., activation: _Optional[str] = ..., target_kinds: _Optional[_Iterable[_Union[TargetKind, str]]] = ..., outputs: _Optional[int] = ..., target_classes: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchLimit(_message.Message):
    __slots__ = ("device", "images", "images_per_second")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    device: str
    images: int
    images_per_second: float
    def __init__(self, device: _Optional[str] = ..., images: _Optional[int] = ..., images_per_second: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("images_per_request", "pixels_per_image", "message_bytes")
    IMAGES_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PIXELS_PER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    images_per_request: int
    pixels_per_image: int
    message_bytes: int
    def __init__(self, images_per_request: _Optional[int] = ..., pixels_per_image: _Optional[int] = ..., message_bytes: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "limits")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    limits: Limits
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("name", "architecture", "weights", "classes", "preprocessing", "devices", "arguments", "activation")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    architecture: str
    weights: str
    classes: str
    preprocessing: Preprocessing
    devices: _containers.RepeatedScalarFieldContainer[str]
    arguments: _containers.ScalarMap[str, str]
    activation: str
    def __init__(self, name: _Optional[str] = ..., architecture: _Optional[str] = ..., weights: _Optional[str] = ..., classes: _Optional[str] = ..., preprocessing: _Optional[_Union[Preprocessing, _Mapping]] = ..., devices: _Optional[_Iterable[str]] = ..., arguments: _Optional[_Mapping[str, str]] = ..., activation: _Optional[str] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
