from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]

class Fit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIT_UNSPECIFIED: _ClassVar[Fit]
    FIT_CROP: _ClassVar[Fit]
    FIT_STRETCH: _ClassVar[Fit]
    FIT_PAD: _ClassVar[Fit]

class Layout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYOUT_UNSPECIFIED: _ClassVar[Layout]
    LAYOUT_NONE: _ClassVar[Layout]
    LAYOUT_CHW: _ClassVar[Layout]
    LAYOUT_HWC: _ClassVar[Layout]
    LAYOUT_TOKENS: _ClassVar[Layout]
    LAYOUT_VECTOR: _ClassVar[Layout]

class LabelSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_SOURCE_UNSPECIFIED: _ClassVar[LabelSource]
    LABEL_SOURCE_PERSON: _ClassVar[LabelSource]
    LABEL_SOURCE_DISSECTION: _ClassVar[LabelSource]
    LABEL_SOURCE_CLASS_EFFECT: _ClassVar[LabelSource]
    LABEL_SOURCE_IMPORTED: _ClassVar[LabelSource]
    LABEL_SOURCE_EXAMPLES: _ClassVar[LabelSource]
    LABEL_SOURCE_UNAVAILABLE: _ClassVar[LabelSource]

class IconStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ICON_STATUS_UNSPECIFIED: _ClassVar[IconStatus]
    ICON_STATUS_READY: _ClassVar[IconStatus]
    ICON_STATUS_QUEUED: _ClassVar[IconStatus]
    ICON_STATUS_NOT_REQUESTED: _ClassVar[IconStatus]
    ICON_STATUS_FAILED: _ClassVar[IconStatus]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_UINT8: DataType
DATA_TYPE_INT32: DataType
FIT_UNSPECIFIED: Fit
FIT_CROP: Fit
FIT_STRETCH: Fit
FIT_PAD: Fit
LAYOUT_UNSPECIFIED: Layout
LAYOUT_NONE: Layout
LAYOUT_CHW: Layout
LAYOUT_HWC: Layout
LAYOUT_TOKENS: Layout
LAYOUT_VECTOR: Layout
LABEL_SOURCE_UNSPECIFIED: LabelSource
LABEL_SOURCE_PERSON: LabelSource
LABEL_SOURCE_DISSECTION: LabelSource
LABEL_SOURCE_CLASS_EFFECT: LabelSource
LABEL_SOURCE_IMPORTED: LabelSource
LABEL_SOURCE_EXAMPLES: LabelSource
LABEL_SOURCE_UNAVAILABLE: LabelSource
ICON_STATUS_UNSPECIFIED: IconStatus
ICON_STATUS_READY: IconStatus
ICON_STATUS_QUEUED: IconStatus
ICON_STATUS_NOT_REQUESTED: IconStatus
ICON_STATUS_FAILED: IconStatus

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("encoded", "pixels", "preprocessed")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSED_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    pixels: Tensor
    preprocessed: Tensor
    def __init__(self, encoded: _Optional[bytes] = ..., pixels: _Optional[_Union[Tensor, _Mapping]] = ..., preprocessed: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("width", "height", "crop")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    crop: Box
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., crop: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("path", "type", "shape", "aliases", "layout", "grid", "prefix_tokens", "signed")
    PATH_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    path: str
    type: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    layout: Layout
    grid: _containers.RepeatedScalarFieldContainer[int]
    prefix_tokens: _containers.RepeatedScalarFieldContainer[str]
    signed: bool
    def __init__(self, path: _Optional[str] = ..., type: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., aliases: _Optional[_Iterable[str]] = ..., layout: _Optional[_Union[Layout, str]] = ..., grid: _Optional[_Iterable[int]] = ..., prefix_tokens: _Optional[_Iterable[str]] = ..., signed: _Optional[bool] = ...) -> None: ...

class Class(_message.Message):
    __slots__ = ("index", "name")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("predicted_class", "probability", "logit")
    PREDICTED_CLASS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    predicted_class: Class
    probability: float
    logit: float
    def __init__(self, predicted_class: _Optional[_Union[Class, _Mapping]] = ..., probability: _Optional[float] = ..., logit: _Optional[float] = ...) -> None: ...

class Predictions(_message.Message):
    __slots__ = ("predictions",)
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    def __init__(self, predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("text", "source", "score", "author")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    text: str
    source: LabelSource
    score: float
    author: str
    def __init__(self, text: _Optional[str] = ..., source: _Optional[_Union[LabelSource, str]] = ..., score: _Optional[float] = ..., author: _Optional[str] = ...) -> None: ...

class Icon(_message.Message):
    __slots__ = ("status", "data", "key")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    status: IconStatus
    data: bytes
    key: IconKey
    def __init__(self, status: _Optional[_Union[IconStatus, str]] = ..., data: _Optional[bytes] = ..., key: _Optional[_Union[IconKey, _Mapping]] = ...) -> None: ...

class IconKey(_message.Message):
    __slots__ = ("model_version", "layer", "recipe", "channel", "direction")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    layer: str
    recipe: str
    channel: int
    direction: Tensor
    def __init__(self, model_version: _Optional[str] = ..., layer: _Optional[str] = ..., recipe: _Optional[str] = ..., channel: _Optional[int] = ..., direction: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("picture", "activation", "class_name", "image_name")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    picture: bytes
    activation: float
    class_name: str
    image_name: str
    def __init__(self, picture: _Optional[bytes] = ..., activation: _Optional[float] = ..., class_name: _Optional[str] = ..., image_name: _Optional[str] = ...) -> None: ...
