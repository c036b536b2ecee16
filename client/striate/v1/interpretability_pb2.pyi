from google.protobuf import any_pb2 as _any_pb2
from striate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reduction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REDUCTION_UNSPECIFIED: _ClassVar[Reduction]
    REDUCTION_NONE: _ClassVar[Reduction]
    REDUCTION_MEAN: _ClassVar[Reduction]
    REDUCTION_MAX: _ClassVar[Reduction]

class Attribution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTION_UNSPECIFIED: _ClassVar[Attribution]
    ATTRIBUTION_GRADIENT_TIMES_ACTIVATION: _ClassVar[Attribution]
    ATTRIBUTION_INTEGRATED_GRADIENTS: _ClassVar[Attribution]
    ATTRIBUTION_NONE: _ClassVar[Attribution]

class NeuronOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEURON_ORDER_UNSPECIFIED: _ClassVar[NeuronOrder]
    NEURON_ORDER_MAGNITUDE: _ClassVar[NeuronOrder]
    NEURON_ORDER_ACTIVATION: _ClassVar[NeuronOrder]

class FactorizationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FACTORIZATION_METHOD_UNSPECIFIED: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_AUTO: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_NMF: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_SEMI_NMF: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_PCA: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_FAST_ICA: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_K_MEANS: _ClassVar[FactorizationMethod]
    FACTORIZATION_METHOD_DICTIONARY_LEARNING: _ClassVar[FactorizationMethod]

class IconObjective(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ICON_OBJECTIVE_UNSPECIFIED: _ClassVar[IconObjective]
    ICON_OBJECTIVE_CHANNEL: _ClassVar[IconObjective]
    ICON_OBJECTIVE_NEURON: _ClassVar[IconObjective]
REDUCTION_UNSPECIFIED: Reduction
REDUCTION_NONE: Reduction
REDUCTION_MEAN: Reduction
REDUCTION_MAX: Reduction
ATTRIBUTION_UNSPECIFIED: Attribution
ATTRIBUTION_GRADIENT_TIMES_ACTIVATION: Attribution
ATTRIBUTION_INTEGRATED_GRADIENTS: Attribution
ATTRIBUTION_NONE: Attribution
NEURON_ORDER_UNSPECIFIED: NeuronOrder
NEURON_ORDER_MAGNITUDE: NeuronOrder
NEURON_ORDER_ACTIVATION: NeuronOrder
FACTORIZATION_METHOD_UNSPECIFIED: FactorizationMethod
FACTORIZATION_METHOD_AUTO: FactorizationMethod
FACTORIZATION_METHOD_NMF: FactorizationMethod
FACTORIZATION_METHOD_SEMI_NMF: FactorizationMethod
FACTORIZATION_METHOD_PCA: FactorizationMethod
FACTORIZATION_METHOD_FAST_ICA: FactorizationMethod
FACTORIZATION_METHOD_K_MEANS: FactorizationMethod
FACTORIZATION_METHOD_DICTIONARY_LEARNING: FactorizationMethod
ICON_OBJECTIVE_UNSPECIFIED: IconObjective
ICON_OBJECTIVE_CHANNEL: IconObjective
ICON_OBJECTIVE_NEURON: IconObjective

class ActivationsRequest(_message.Message):
    __slots__ = ("model", "images", "layers", "fit", "reduction", "channels", "dtype", "classes", "positions", "prefix_tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    layers: _containers.RepeatedScalarFieldContainer[str]
    fit: _common_pb2.Fit
    reduction: Reduction
    channels: _containers.RepeatedScalarFieldContainer[int]
    dtype: _common_pb2.DataType
    classes: int
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    prefix_tokens: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., layers: _Optional[_Iterable[str]] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., reduction: _Optional[_Union[Reduction, str]] = ..., channels: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., classes: _Optional[int] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., prefix_tokens: _Optional[_Iterable[str]] = ...) -> None: ...

class LayerActivations(_message.Message):
    __slots__ = ("layer", "tensor")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    layer: _common_pb2.Layer
    tensor: _common_pb2.Tensor
    def __init__(self, layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., tensor: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ActivationsResponse(_message.Message):
    __slots__ = ("model", "layers", "predictions", "views")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layers: _containers.RepeatedCompositeFieldContainer[LayerActivations]
    predictions: _containers.RepeatedCompositeFieldContainer[_common_pb2.Predictions]
    views: _containers.RepeatedCompositeFieldContainer[_common_pb2.View]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[LayerActivations, _Mapping]]] = ..., predictions: _Optional[_Iterable[_Union[_common_pb2.Predictions, _Mapping]]] = ..., views: _Optional[_Iterable[_Union[_common_pb2.View, _Mapping]]] = ...) -> None: ...

class StreamActivationsRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: ActivationsRequest
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[ActivationsRequest, _Mapping]] = ...) -> None: ...

class StreamError(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class StreamActivationsResponse(_message.Message):
    __slots__ = ("id", "response", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    response: ActivationsResponse
    error: StreamError
    def __init__(self, id: _Optional[str] = ..., response: _Optional[_Union[ActivationsResponse, _Mapping]] = ..., error: _Optional[_Union[StreamError, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("row", "column")
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    row: int
    column: int
    def __init__(self, row: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...

class Area(_message.Message):
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

class RegionTarget(_message.Message):
    __slots__ = ("class_name", "area")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    area: Area
    def __init__(self, class_name: _Optional[str] = ..., area: _Optional[_Union[Area, _Mapping]] = ...) -> None: ...

class BoxTarget(_message.Message):
    __slots__ = ("class_name", "rank", "near")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    NEAR_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    rank: int
    near: Area
    def __init__(self, class_name: _Optional[str] = ..., rank: _Optional[int] = ..., near: _Optional[_Union[Area, _Mapping]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("class_name", "output", "region", "embedding", "box")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    output: int
    region: RegionTarget
    embedding: _common_pb2.Tensor
    box: BoxTarget
    def __init__(self, class_name: _Optional[str] = ..., output: _Optional[int] = ..., region: _Optional[_Union[RegionTarget, _Mapping]] = ..., embedding: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., box: _Optional[_Union[BoxTarget, _Mapping]] = ...) -> None: ...

class SemanticDictionaryRequest(_message.Message):
    __slots__ = ("model", "image", "layer", "fit", "neurons", "classes", "class_names", "positions", "wait_for_icons", "omit_icons", "examples", "attribution", "steps", "position_icons", "recipe", "order", "prefix_tokens", "smooth_max_pool", "targets")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_ICONS_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    POSITION_ICONS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MAX_POOL_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _common_pb2.Image
    layer: str
    fit: _common_pb2.Fit
    neurons: int
    classes: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    wait_for_icons: bool
    omit_icons: bool
    examples: int
    attribution: Attribution
    steps: int
    position_icons: bool
    recipe: str
    order: NeuronOrder
    prefix_tokens: _containers.RepeatedScalarFieldContainer[str]
    smooth_max_pool: bool
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., layer: _Optional[str] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., neurons: _Optional[int] = ..., classes: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., wait_for_icons: _Optional[bool] = ..., omit_icons: _Optional[bool] = ..., examples: _Optional[int] = ..., attribution: _Optional[_Union[Attribution, str]] = ..., steps: _Optional[int] = ..., position_icons: _Optional[bool] = ..., recipe: _Optional[str] = ..., order: _Optional[_Union[NeuronOrder, str]] = ..., prefix_tokens: _Optional[_Iterable[str]] = ..., smooth_max_pool: _Optional[bool] = ..., targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class Neuron(_message.Message):
    __slots__ = ("channel", "label", "icon", "examples", "other_facets", "negative_icon")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    OTHER_FACETS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_ICON_FIELD_NUMBER: _ClassVar[int]
    channel: int
    label: _common_pb2.Label
    icon: _common_pb2.Icon
    examples: _containers.RepeatedCompositeFieldContainer[_common_pb2.Example]
    other_facets: _containers.RepeatedCompositeFieldContainer[_common_pb2.Icon]
    negative_icon: _common_pb2.Icon
    def __init__(self, channel: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ..., examples: _Optional[_Iterable[_Union[_common_pb2.Example, _Mapping]]] = ..., other_facets: _Optional[_Iterable[_Union[_common_pb2.Icon, _Mapping]]] = ..., negative_icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ...) -> None: ...

class SemanticDictionaryResponse(_message.Message):
    __slots__ = ("model", "layer", "view", "predictions", "magnitude", "positions", "channels", "activations", "classes", "effects", "neurons", "logits", "baseline_logits", "position_icons", "prefix_tokens", "prefix_magnitudes", "smooth_max_pool")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_LOGITS_FIELD_NUMBER: _ClassVar[int]
    POSITION_ICONS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_MAGNITUDES_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MAX_POOL_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layer: _common_pb2.Layer
    view: _common_pb2.View
    predictions: _common_pb2.Predictions
    magnitude: _common_pb2.Tensor
    positions: _common_pb2.Tensor
    channels: _common_pb2.Tensor
    activations: _common_pb2.Tensor
    classes: _containers.RepeatedCompositeFieldContainer[_common_pb2.Class]
    effects: _common_pb2.Tensor
    neurons: _containers.RepeatedCompositeFieldContainer[Neuron]
    logits: _containers.RepeatedScalarFieldContainer[float]
    baseline_logits: _containers.RepeatedScalarFieldContainer[float]
    position_icons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Icon]
    prefix_tokens: _containers.RepeatedScalarFieldContainer[str]
    prefix_magnitudes: _containers.RepeatedScalarFieldContainer[float]
    smooth_max_pool: bool
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., view: _Optional[_Union[_common_pb2.View, _Mapping]] = ..., predictions: _Optional[_Union[_common_pb2.Predictions, _Mapping]] = ..., magnitude: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., positions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., channels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., activations: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., classes: _Optional[_Iterable[_Union[_common_pb2.Class, _Mapping]]] = ..., effects: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., neurons: _Optional[_Iterable[_Union[Neuron, _Mapping]]] = ..., logits: _Optional[_Iterable[float]] = ..., baseline_logits: _Optional[_Iterable[float]] = ..., position_icons: _Optional[_Iterable[_Union[_common_pb2.Icon, _Mapping]]] = ..., prefix_tokens: _Optional[_Iterable[str]] = ..., prefix_magnitudes: _Optional[_Iterable[float]] = ..., smooth_max_pool: _Optional[bool] = ...) -> None: ...

class Convergence(_message.Message):
    __slots__ = ("iterations", "ran_out")
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    RAN_OUT_FIELD_NUMBER: _ClassVar[int]
    iterations: int
    ran_out: bool
    def __init__(self, iterations: _Optional[int] = ..., ran_out: _Optional[bool] = ...) -> None: ...

class ImageBatch(_message.Message):
    __slots__ = ("images", "fit", "layer")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    fit: _common_pb2.Fit
    layer: str
    def __init__(self, images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., layer: _Optional[str] = ...) -> None: ...

class FactorizeRequest(_message.Message):
    __slots__ = ("model", "images", "activations", "components", "classes", "class_names", "rectify", "wait_for_icons", "omit_icons", "save_as", "basis", "sobol_points", "recipe", "method", "smooth_max_pool", "omit_overlays", "targets")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    RECTIFY_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_ICONS_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    SAVE_AS_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    SOBOL_POINTS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MAX_POOL_FIELD_NUMBER: _ClassVar[int]
    OMIT_OVERLAYS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: ImageBatch
    activations: _common_pb2.Tensor
    components: int
    classes: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    rectify: bool
    wait_for_icons: bool
    omit_icons: bool
    save_as: str
    basis: str
    sobol_points: int
    recipe: str
    method: FactorizationMethod
    smooth_max_pool: bool
    omit_overlays: bool
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Union[ImageBatch, _Mapping]] = ..., activations: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., components: _Optional[int] = ..., classes: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., rectify: _Optional[bool] = ..., wait_for_icons: _Optional[bool] = ..., omit_icons: _Optional[bool] = ..., save_as: _Optional[str] = ..., basis: _Optional[str] = ..., sobol_points: _Optional[int] = ..., recipe: _Optional[str] = ..., method: _Optional[_Union[FactorizationMethod, str]] = ..., smooth_max_pool: _Optional[bool] = ..., omit_overlays: _Optional[bool] = ..., targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class Crop(_message.Message):
    __slots__ = ("image", "box", "strength")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    image: int
    box: _common_pb2.Box
    strength: float
    def __init__(self, image: _Optional[int] = ..., box: _Optional[_Union[_common_pb2.Box, _Mapping]] = ..., strength: _Optional[float] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("color", "icon", "label", "importance", "channels", "effects", "crops", "sobol_indices")
    COLOR_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    SOBOL_INDICES_FIELD_NUMBER: _ClassVar[int]
    color: int
    icon: _common_pb2.Icon
    label: _common_pb2.Label
    importance: float
    channels: _containers.RepeatedScalarFieldContainer[int]
    effects: _containers.RepeatedScalarFieldContainer[float]
    crops: _containers.RepeatedCompositeFieldContainer[Crop]
    sobol_indices: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, color: _Optional[int] = ..., icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., importance: _Optional[float] = ..., channels: _Optional[_Iterable[int]] = ..., effects: _Optional[_Iterable[float]] = ..., crops: _Optional[_Iterable[_Union[Crop, _Mapping]]] = ..., sobol_indices: _Optional[_Iterable[float]] = ...) -> None: ...

class Fidelity(_message.Message):
    __slots__ = ("kl_divergence", "same_top_class", "probabilities")
    KL_DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    SAME_TOP_CLASS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    kl_divergence: float
    same_top_class: bool
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, kl_divergence: _Optional[float] = ..., same_top_class: _Optional[bool] = ..., probabilities: _Optional[_Iterable[float]] = ...) -> None: ...

class Choice(_message.Message):
    __slots__ = ("components", "relative_error", "explained_variance")
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_ERROR_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    components: int
    relative_error: float
    explained_variance: float
    def __init__(self, components: _Optional[int] = ..., relative_error: _Optional[float] = ..., explained_variance: _Optional[float] = ...) -> None: ...

class FactorizeResponse(_message.Message):
    __slots__ = ("model", "layer", "views", "predictions", "spatial", "directions", "relative_error", "groups", "classes", "effects", "residual_effects", "overlays", "fidelity", "choices", "sobol_indices", "basis", "method", "convergence", "smooth_max_pool", "overlay_scale")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    SPATIAL_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_ERROR_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    OVERLAYS_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    SOBOL_INDICES_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CONVERGENCE_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MAX_POOL_FIELD_NUMBER: _ClassVar[int]
    OVERLAY_SCALE_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layer: _common_pb2.Layer
    views: _containers.RepeatedCompositeFieldContainer[_common_pb2.View]
    predictions: _containers.RepeatedCompositeFieldContainer[_common_pb2.Predictions]
    spatial: _common_pb2.Tensor
    directions: _common_pb2.Tensor
    relative_error: float
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    classes: _containers.RepeatedCompositeFieldContainer[_common_pb2.Class]
    effects: _common_pb2.Tensor
    residual_effects: _common_pb2.Tensor
    overlays: _containers.RepeatedScalarFieldContainer[bytes]
    fidelity: _containers.RepeatedCompositeFieldContainer[Fidelity]
    choices: _containers.RepeatedCompositeFieldContainer[Choice]
    sobol_indices: _common_pb2.Tensor
    basis: str
    method: FactorizationMethod
    convergence: Convergence
    smooth_max_pool: bool
    overlay_scale: float
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., views: _Optional[_Iterable[_Union[_common_pb2.View, _Mapping]]] = ..., predictions: _Optional[_Iterable[_Union[_common_pb2.Predictions, _Mapping]]] = ..., spatial: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., directions: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., relative_error: _Optional[float] = ..., groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ..., classes: _Optional[_Iterable[_Union[_common_pb2.Class, _Mapping]]] = ..., effects: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., residual_effects: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., overlays: _Optional[_Iterable[bytes]] = ..., fidelity: _Optional[_Iterable[_Union[Fidelity, _Mapping]]] = ..., choices: _Optional[_Iterable[_Union[Choice, _Mapping]]] = ..., sobol_indices: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., basis: _Optional[str] = ..., method: _Optional[_Union[FactorizationMethod, str]] = ..., convergence: _Optional[_Union[Convergence, _Mapping]] = ..., smooth_max_pool: _Optional[bool] = ..., overlay_scale: _Optional[float] = ...) -> None: ...

class FactorizeLayersRequest(_message.Message):
    __slots__ = ("model", "images", "fit", "layers", "components", "classes", "class_names", "rectify", "wait_for_icons", "omit_icons", "recipe", "method", "smooth_max_pool", "omit_overlays", "targets")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    RECTIFY_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_ICONS_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MAX_POOL_FIELD_NUMBER: _ClassVar[int]
    OMIT_OVERLAYS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_common_pb2.Image]
    fit: _common_pb2.Fit
    layers: _containers.RepeatedScalarFieldContainer[str]
    components: int
    classes: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    rectify: bool
    wait_for_icons: bool
    omit_icons: bool
    recipe: str
    method: FactorizationMethod
    smooth_max_pool: bool
    omit_overlays: bool
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_common_pb2.Image, _Mapping]]] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., layers: _Optional[_Iterable[str]] = ..., components: _Optional[int] = ..., classes: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., rectify: _Optional[bool] = ..., wait_for_icons: _Optional[bool] = ..., omit_icons: _Optional[bool] = ..., recipe: _Optional[str] = ..., method: _Optional[_Union[FactorizationMethod, str]] = ..., smooth_max_pool: _Optional[bool] = ..., omit_overlays: _Optional[bool] = ..., targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("influence", "residual")
    INFLUENCE_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    influence: _common_pb2.Tensor
    residual: _common_pb2.Tensor
    def __init__(self, influence: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., residual: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class FactorizeLayersResponse(_message.Message):
    __slots__ = ("layers", "flows")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedCompositeFieldContainer[FactorizeResponse]
    flows: _containers.RepeatedCompositeFieldContainer[Flow]
    def __init__(self, layers: _Optional[_Iterable[_Union[FactorizeResponse, _Mapping]]] = ..., flows: _Optional[_Iterable[_Union[Flow, _Mapping]]] = ...) -> None: ...

class RenderIconsRequest(_message.Message):
    __slots__ = ("model", "layer", "channels", "omit_icons", "detach", "recipe", "facets", "objective", "position", "objective_name")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    FACETS_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_NAME_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    channels: _containers.RepeatedScalarFieldContainer[int]
    omit_icons: bool
    detach: bool
    recipe: str
    facets: int
    objective: IconObjective
    position: Position
    objective_name: str
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ..., channels: _Optional[_Iterable[int]] = ..., omit_icons: _Optional[bool] = ..., detach: _Optional[bool] = ..., recipe: _Optional[str] = ..., facets: _Optional[int] = ..., objective: _Optional[_Union[IconObjective, str]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., objective_name: _Optional[str] = ...) -> None: ...

class RenderIconsResponse(_message.Message):
    __slots__ = ("model", "layer", "completed", "total", "progress", "remaining_seconds", "neurons")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    layer: _common_pb2.Layer
    completed: int
    total: int
    progress: float
    remaining_seconds: float
    neurons: _containers.RepeatedCompositeFieldContainer[Neuron]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layer: _Optional[_Union[_common_pb2.Layer, _Mapping]] = ..., completed: _Optional[int] = ..., total: _Optional[int] = ..., progress: _Optional[float] = ..., remaining_seconds: _Optional[float] = ..., neurons: _Optional[_Iterable[_Union[Neuron, _Mapping]]] = ...) -> None: ...

class CancelIconsRequest(_message.Message):
    __slots__ = ("model", "layer")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    model: str
    layer: str
    def __init__(self, model: _Optional[str] = ..., layer: _Optional[str] = ...) -> None: ...

class CancelIconsResponse(_message.Message):
    __slots__ = ("cancelled",)
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    cancelled: int
    def __init__(self, cancelled: _Optional[int] = ...) -> None: ...

class WatchIconsRequest(_message.Message):
    __slots__ = ("keys", "previews")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_common_pb2.IconKey]
    previews: bool
    def __init__(self, keys: _Optional[_Iterable[_Union[_common_pb2.IconKey, _Mapping]]] = ..., previews: _Optional[bool] = ...) -> None: ...

class FinishedIcon(_message.Message):
    __slots__ = ("index", "icon")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    index: int
    icon: _common_pb2.Icon
    def __init__(self, index: _Optional[int] = ..., icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ...) -> None: ...

class WatchIconsResponse(_message.Message):
    __slots__ = ("icons", "completed", "total", "progress", "remaining_seconds", "previews")
    ICONS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    icons: _containers.RepeatedCompositeFieldContainer[FinishedIcon]
    completed: int
    total: int
    progress: float
    remaining_seconds: float
    previews: _containers.RepeatedCompositeFieldContainer[FinishedIcon]
    def __init__(self, icons: _Optional[_Iterable[_Union[FinishedIcon, _Mapping]]] = ..., completed: _Optional[int] = ..., total: _Optional[int] = ..., progress: _Optional[float] = ..., remaining_seconds: _Optional[float] = ..., previews: _Optional[_Iterable[_Union[FinishedIcon, _Mapping]]] = ...) -> None: ...
