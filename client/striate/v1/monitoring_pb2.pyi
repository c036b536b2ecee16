import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from striate.v1 import common_pb2 as _common_pb2
from striate.v1 import examples_pb2 as _examples_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Monitor(_message.Message):
    __slots__ = ("name", "model", "layers", "bases", "window", "reference_from_traffic", "omit_pictures", "create_time", "reference_images", "observed_images", "last_observed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FROM_TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    OMIT_PICTURES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    LAST_OBSERVED_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: _common_pb2.ModelRef
    layers: _containers.RepeatedScalarFieldContainer[str]
    bases: _containers.RepeatedScalarFieldContainer[str]
    window: int
    reference_from_traffic: int
    omit_pictures: bool
    create_time: _timestamp_pb2.Timestamp
    reference_images: int
    observed_images: int
    last_observed: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layers: _Optional[_Iterable[str]] = ..., bases: _Optional[_Iterable[str]] = ..., window: _Optional[int] = ..., reference_from_traffic: _Optional[int] = ..., omit_pictures: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reference_images: _Optional[int] = ..., observed_images: _Optional[int] = ..., last_observed: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateMonitorRequest(_message.Message):
    __slots__ = ("name", "model", "layers", "bases", "window", "reference_from_traffic", "omit_pictures", "fit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FROM_TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    OMIT_PICTURES_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    layers: _containers.RepeatedScalarFieldContainer[str]
    bases: _containers.RepeatedScalarFieldContainer[str]
    window: int
    reference_from_traffic: int
    omit_pictures: bool
    fit: _common_pb2.Fit
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., layers: _Optional[_Iterable[str]] = ..., bases: _Optional[_Iterable[str]] = ..., window: _Optional[int] = ..., reference_from_traffic: _Optional[int] = ..., omit_pictures: _Optional[bool] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ...) -> None: ...

class CreateMonitorResponse(_message.Message):
    __slots__ = ("monitor",)
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    monitor: Monitor
    def __init__(self, monitor: _Optional[_Union[Monitor, _Mapping]] = ...) -> None: ...

class ListMonitorsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMonitorsResponse(_message.Message):
    __slots__ = ("monitors", "next_page_token")
    MONITORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    monitors: _containers.RepeatedCompositeFieldContainer[Monitor]
    next_page_token: str
    def __init__(self, monitors: _Optional[_Iterable[_Union[Monitor, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetMonitorResponse(_message.Message):
    __slots__ = ("monitor",)
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    monitor: Monitor
    def __init__(self, monitor: _Optional[_Union[Monitor, _Mapping]] = ...) -> None: ...

class DeleteMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteMonitorResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ObserveRequest(_message.Message):
    __slots__ = ("start", "images")
    START_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    start: ObserveStart
    images: ObserveImages
    def __init__(self, start: _Optional[_Union[ObserveStart, _Mapping]] = ..., images: _Optional[_Union[ObserveImages, _Mapping]] = ...) -> None: ...

class ObserveStart(_message.Message):
    __slots__ = ("monitor", "reference")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    reference: bool
    def __init__(self, monitor: _Optional[str] = ..., reference: _Optional[bool] = ...) -> None: ...

class ObserveImages(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[ObservedImage]
    def __init__(self, images: _Optional[_Iterable[_Union[ObservedImage, _Mapping]]] = ...) -> None: ...

class ObservedImage(_message.Message):
    __slots__ = ("image", "id", "slice", "time")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    image: _common_pb2.Image
    id: str
    slice: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., id: _Optional[str] = ..., slice: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ObserveResponse(_message.Message):
    __slots__ = ("stored", "repeated_images", "skipped")
    STORED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    stored: int
    repeated_images: int
    skipped: _containers.RepeatedCompositeFieldContainer[_examples_pb2.SkippedImage]
    def __init__(self, stored: _Optional[int] = ..., repeated_images: _Optional[int] = ..., skipped: _Optional[_Iterable[_Union[_examples_pb2.SkippedImage, _Mapping]]] = ...) -> None: ...

class AddOutcomesRequest(_message.Message):
    __slots__ = ("monitor", "outcomes")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, monitor: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("id", "class_name")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    class_name: str
    def __init__(self, id: _Optional[str] = ..., class_name: _Optional[str] = ...) -> None: ...

class AddOutcomesResponse(_message.Message):
    __slots__ = ("added",)
    ADDED_FIELD_NUMBER: _ClassVar[int]
    added: int
    def __init__(self, added: _Optional[int] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("format", "model", "layers", "bases", "basis_digests", "fit", "reference", "traffic")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    BASIS_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    format: int
    model: _common_pb2.ModelRef
    layers: _containers.RepeatedScalarFieldContainer[str]
    bases: _containers.RepeatedScalarFieldContainer[str]
    basis_digests: _containers.RepeatedScalarFieldContainer[bytes]
    fit: _common_pb2.Fit
    reference: ProfileImages
    traffic: ProfileImages
    def __init__(self, format: _Optional[int] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., layers: _Optional[_Iterable[str]] = ..., bases: _Optional[_Iterable[str]] = ..., basis_digests: _Optional[_Iterable[bytes]] = ..., fit: _Optional[_Union[_common_pb2.Fit, str]] = ..., reference: _Optional[_Union[ProfileImages, _Mapping]] = ..., traffic: _Optional[_Union[ProfileImages, _Mapping]] = ...) -> None: ...

class ProfileImages(_message.Message):
    __slots__ = ("samples", "codes", "predicted", "outcomes", "slices", "times", "novelty", "pictures")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    samples: bytes
    codes: bytes
    predicted: _containers.RepeatedScalarFieldContainer[int]
    outcomes: _containers.RepeatedScalarFieldContainer[int]
    slices: _containers.RepeatedScalarFieldContainer[str]
    times: _containers.RepeatedScalarFieldContainer[int]
    novelty: _containers.RepeatedScalarFieldContainer[float]
    pictures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, samples: _Optional[bytes] = ..., codes: _Optional[bytes] = ..., predicted: _Optional[_Iterable[int]] = ..., outcomes: _Optional[_Iterable[int]] = ..., slices: _Optional[_Iterable[str]] = ..., times: _Optional[_Iterable[int]] = ..., novelty: _Optional[_Iterable[float]] = ..., pictures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ExportProfileRequest(_message.Message):
    __slots__ = ("monitor", "omit_pictures")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    OMIT_PICTURES_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    omit_pictures: bool
    def __init__(self, monitor: _Optional[str] = ..., omit_pictures: _Optional[bool] = ...) -> None: ...

class ExportProfileResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: Profile
    def __init__(self, profile: _Optional[_Union[Profile, _Mapping]] = ...) -> None: ...

class ImportProfileRequest(_message.Message):
    __slots__ = ("monitor", "profile", "reference_only")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    profile: Profile
    reference_only: bool
    def __init__(self, monitor: _Optional[str] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ..., reference_only: _Optional[bool] = ...) -> None: ...

class ImportProfileResponse(_message.Message):
    __slots__ = ("monitor", "added")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    monitor: Monitor
    added: int
    def __init__(self, monitor: _Optional[_Union[Monitor, _Mapping]] = ..., added: _Optional[int] = ...) -> None: ...

class GetDriftRequest(_message.Message):
    __slots__ = ("monitor", "items", "pictures", "slice", "omit_icons")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    OMIT_ICONS_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    items: int
    pictures: int
    slice: str
    omit_icons: bool
    def __init__(self, monitor: _Optional[str] = ..., items: _Optional[int] = ..., pictures: _Optional[int] = ..., slice: _Optional[str] = ..., omit_icons: _Optional[bool] = ...) -> None: ...

class Drift(_message.Message):
    __slots__ = ("score", "significant", "p_value", "effect", "before", "now", "standardized_difference", "population_stability", "wasserstein", "q_value")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    STANDARDIZED_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    POPULATION_STABILITY_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_FIELD_NUMBER: _ClassVar[int]
    Q_VALUE_FIELD_NUMBER: _ClassVar[int]
    score: float
    significant: bool
    p_value: float
    effect: float
    before: float
    now: float
    standardized_difference: float
    population_stability: float
    wasserstein: float
    q_value: float
    def __init__(self, score: _Optional[float] = ..., significant: _Optional[bool] = ..., p_value: _Optional[float] = ..., effect: _Optional[float] = ..., before: _Optional[float] = ..., now: _Optional[float] = ..., standardized_difference: _Optional[float] = ..., population_stability: _Optional[float] = ..., wasserstein: _Optional[float] = ..., q_value: _Optional[float] = ...) -> None: ...

class SliceDrift(_message.Message):
    __slots__ = ("slice", "images", "effect")
    SLICE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    slice: str
    images: int
    effect: float
    def __init__(self, slice: _Optional[str] = ..., images: _Optional[int] = ..., effect: _Optional[float] = ...) -> None: ...

class GetDriftResponse(_message.Message):
    __slots__ = ("monitor", "images", "reference_images", "enough", "significant", "layers", "bases", "channels", "groups", "classes", "confidence", "slices", "concepts")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    ENOUGH_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    monitor: Monitor
    images: int
    reference_images: int
    enough: bool
    significant: bool
    layers: _containers.RepeatedCompositeFieldContainer[LayerDrift]
    bases: _containers.RepeatedCompositeFieldContainer[BasisDrift]
    channels: _containers.RepeatedCompositeFieldContainer[ChannelDrift]
    groups: _containers.RepeatedCompositeFieldContainer[GroupDrift]
    classes: _containers.RepeatedCompositeFieldContainer[ClassDrift]
    confidence: Drift
    slices: _containers.RepeatedCompositeFieldContainer[SliceSummary]
    concepts: _containers.RepeatedCompositeFieldContainer[ConceptDrift]
    def __init__(self, monitor: _Optional[_Union[Monitor, _Mapping]] = ..., images: _Optional[int] = ..., reference_images: _Optional[int] = ..., enough: _Optional[bool] = ..., significant: _Optional[bool] = ..., layers: _Optional[_Iterable[_Union[LayerDrift, _Mapping]]] = ..., bases: _Optional[_Iterable[_Union[BasisDrift, _Mapping]]] = ..., channels: _Optional[_Iterable[_Union[ChannelDrift, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupDrift, _Mapping]]] = ..., classes: _Optional[_Iterable[_Union[ClassDrift, _Mapping]]] = ..., confidence: _Optional[_Union[Drift, _Mapping]] = ..., slices: _Optional[_Iterable[_Union[SliceSummary, _Mapping]]] = ..., concepts: _Optional[_Iterable[_Union[ConceptDrift, _Mapping]]] = ...) -> None: ...

class ConceptDrift(_message.Message):
    __slots__ = ("name", "score", "significant", "channels", "most_drifted")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    MOST_DRIFTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    score: float
    significant: bool
    channels: int
    most_drifted: ChannelDrift
    def __init__(self, name: _Optional[str] = ..., score: _Optional[float] = ..., significant: _Optional[bool] = ..., channels: _Optional[int] = ..., most_drifted: _Optional[_Union[ChannelDrift, _Mapping]] = ...) -> None: ...

class LayerDrift(_message.Message):
    __slots__ = ("layer", "score", "significant_channels", "dead_channels", "newly_dead_channels", "sparsity", "saturated_channels", "newly_saturated_channels")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    DEAD_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NEWLY_DEAD_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_FIELD_NUMBER: _ClassVar[int]
    SATURATED_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NEWLY_SATURATED_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    layer: str
    score: float
    significant_channels: int
    dead_channels: int
    newly_dead_channels: int
    sparsity: Drift
    saturated_channels: int
    newly_saturated_channels: int
    def __init__(self, layer: _Optional[str] = ..., score: _Optional[float] = ..., significant_channels: _Optional[int] = ..., dead_channels: _Optional[int] = ..., newly_dead_channels: _Optional[int] = ..., sparsity: _Optional[_Union[Drift, _Mapping]] = ..., saturated_channels: _Optional[int] = ..., newly_saturated_channels: _Optional[int] = ...) -> None: ...

class BasisDrift(_message.Message):
    __slots__ = ("basis", "layer", "novelty", "novelty_before", "novelty_now")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_NOW_FIELD_NUMBER: _ClassVar[int]
    basis: str
    layer: str
    novelty: Drift
    novelty_before: float
    novelty_now: float
    def __init__(self, basis: _Optional[str] = ..., layer: _Optional[str] = ..., novelty: _Optional[_Union[Drift, _Mapping]] = ..., novelty_before: _Optional[float] = ..., novelty_now: _Optional[float] = ...) -> None: ...

class ChannelDrift(_message.Message):
    __slots__ = ("layer", "channel", "label", "icon", "drift", "mean", "reference_pictures", "window_pictures", "slices")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PICTURES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_PICTURES_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    layer: str
    channel: int
    label: _common_pb2.Label
    icon: _common_pb2.Icon
    drift: Drift
    mean: bool
    reference_pictures: _containers.RepeatedScalarFieldContainer[bytes]
    window_pictures: _containers.RepeatedScalarFieldContainer[bytes]
    slices: _containers.RepeatedCompositeFieldContainer[SliceDrift]
    def __init__(self, layer: _Optional[str] = ..., channel: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ..., drift: _Optional[_Union[Drift, _Mapping]] = ..., mean: _Optional[bool] = ..., reference_pictures: _Optional[_Iterable[bytes]] = ..., window_pictures: _Optional[_Iterable[bytes]] = ..., slices: _Optional[_Iterable[_Union[SliceDrift, _Mapping]]] = ...) -> None: ...

class GroupDrift(_message.Message):
    __slots__ = ("basis", "group", "label", "icon", "drift", "reference_pictures", "window_pictures", "slices", "dominant_images", "outcomes", "accuracy")
    BASIS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ICON_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PICTURES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_PICTURES_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    DOMINANT_IMAGES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    basis: str
    group: int
    label: _common_pb2.Label
    icon: _common_pb2.Icon
    drift: Drift
    reference_pictures: _containers.RepeatedScalarFieldContainer[bytes]
    window_pictures: _containers.RepeatedScalarFieldContainer[bytes]
    slices: _containers.RepeatedCompositeFieldContainer[SliceDrift]
    dominant_images: int
    outcomes: int
    accuracy: float
    def __init__(self, basis: _Optional[str] = ..., group: _Optional[int] = ..., label: _Optional[_Union[_common_pb2.Label, _Mapping]] = ..., icon: _Optional[_Union[_common_pb2.Icon, _Mapping]] = ..., drift: _Optional[_Union[Drift, _Mapping]] = ..., reference_pictures: _Optional[_Iterable[bytes]] = ..., window_pictures: _Optional[_Iterable[bytes]] = ..., slices: _Optional[_Iterable[_Union[SliceDrift, _Mapping]]] = ..., dominant_images: _Optional[int] = ..., outcomes: _Optional[int] = ..., accuracy: _Optional[float] = ...) -> None: ...

class ClassDrift(_message.Message):
    __slots__ = ("predicted_class", "drift")
    PREDICTED_CLASS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    predicted_class: _common_pb2.Class
    drift: Drift
    def __init__(self, predicted_class: _Optional[_Union[_common_pb2.Class, _Mapping]] = ..., drift: _Optional[_Union[Drift, _Mapping]] = ...) -> None: ...

class SliceSummary(_message.Message):
    __slots__ = ("slice", "images", "outcomes", "accuracy")
    SLICE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    slice: str
    images: int
    outcomes: int
    accuracy: float
    def __init__(self, slice: _Optional[str] = ..., images: _Optional[int] = ..., outcomes: _Optional[int] = ..., accuracy: _Optional[float] = ...) -> None: ...
