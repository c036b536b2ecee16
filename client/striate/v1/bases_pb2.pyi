import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from striate.v1 import common_pb2 as _common_pb2
from striate.v1 import examples_pb2 as _examples_pb2
from striate.v1 import interpretability_pb2 as _interpretability_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BuildPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUILD_PHASE_UNSPECIFIED: _ClassVar[BuildPhase]
    BUILD_PHASE_READING: _ClassVar[BuildPhase]
    BUILD_PHASE_FACTORIZING: _ClassVar[BuildPhase]
    BUILD_PHASE_SAVED: _ClassVar[BuildPhase]
BUILD_PHASE_UNSPECIFIED: BuildPhase
BUILD_PHASE_READING: BuildPhase
BUILD_PHASE_FACTORIZING: BuildPhase
BUILD_PHASE_SAVED: BuildPhase

class Basis(_message.Message):
    __slots__ = ("name", "model", "layer", "components", "image_count", "relative_error", "fit", "rectify", "create_time", "method")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_ERROR_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    RECTIFY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: _common_pb2.ModelRef
    layer: str
    components: int
    image_count: int
    relative_error: float
    fit: _common_pb2.Fit
    rectify: bool
    create_time: _timestamp_pb2.Timestamp
    method: _interpretability_pb2.FactorizationMethod
    def __init__(self, name: _Optional[str] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[str] = ..., components: _Optional[int] = ..., image_count: _Optional[int] = ..., relative_error: _Optional[float] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., rectify: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., method: _Optional[_Union[_interpretability_pb2.FactorizationMethod, str]] = ...) -> None: ...

class ListBasesRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBasesResponse(_message.Message):
    __slots__ = ("bases", "next_page_token")
    BASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bases: _containers.RepeatedCompositeFieldContainer[Basis]
    next_page_token: str
    def __init__(self, bases: _Optional[_Iterable[_Union[Basis, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetBasisRequest(_message.Message):
    __slots__ = ("name", "wait_for_icons", "omit_icons")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_ICONS_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    wait_for_icons: bool
    omit_icons: bool
    def __init__(self, name: _Optional[str] = ..., wait_for_icons: _Optional[bool] = ..., omit_icons: _Optional[bool] = ...) -> None: ...

class GetBasisResponse(_message.Message):
    __slots__ = ("basis", "groups", "directions")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    basis: Basis
    groups: _containers.RepeatedCompositeFieldContainer[_interpretability_pb2.Group]
    directions: _common_pb2.Tensor
    def __init__(self, basis: _Optional[_Union[Basis, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[_interpretability_pb2.Group, _Mapping]]] = ..., directions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class DeleteBasisRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteBasisResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BuildBasisRequest(_message.Message):
    __slots__ = ("start", "images")
    START_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    start: BuildStart
    images: BuildImages
    def __init__(self, start: _Optional[_Union[BuildStart, _Mapping]] = ..., images: _Optional[_Union[BuildImages, _Mapping]] = ...) -> None: ...

class BuildStart(_message.Message):
    __slots__ = ("name", "model", "layer", "fit", "components", "rectify", "folder", "method")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    RECTIFY_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    layer: str
    fit: _common_pb2.Fit
    components: int
    rectify: bool
    folder: str
    method: _interpretability_pb2.FactorizationMethod
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., layer: _Optional[str] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., components: _Optional[int] = ..., rectify: _Optional[bool] = ..., folder: _Optional[str] = ..., method: _Optional[_Union[_interpretability_pb2.FactorizationMethod, str]] = ...) -> None: ...

class BuildImages(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    def __init__(self, images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ...) -> None: ...

class BuildBasisResponse(_message.Message):
    __slots__ = ("phase", "image_count", "total_images", "progress", "skipped", "basis")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_IMAGES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    phase: BuildPhase
    image_count: int
    total_images: int
    progress: float
    skipped: _containers.RepeatedCompositeFieldContainer[_examples_pb2.SkippedImage]
    basis: Basis
    def __init__(self, phase: _Optional[_Union[BuildPhase, str]] = ..., image_count: _Optional[int] = ..., total_images: _Optional[int] = ..., progress: _Optional[float] = ..., skipped: _Optional[_Iterable[_Union[_examples_pb2.SkippedImage, _Mapping]]] = ..., basis: _Optional[_Union[Basis, _Mapping]] = ...) -> None: ...
