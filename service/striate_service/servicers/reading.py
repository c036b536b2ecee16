"""From messages to values: what several services' requests have in common. Each check names the field and what would
be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from striate.tensors import array_from_tensor
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument, NotFound, shown
from striate_service.explain.icons import IconOptions, RecipeChoice
from striate_service.explain.images import Fit, GivenImage, GivenImages
from striate_service.models.description import LayerDescription, ModelDescription, Preprocessing
from striate_service.stores.bases import NAME

T = TypeVar("T")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)

MAX_CLASSES = 20
MAX_COMPONENTS, USUAL_COMPONENTS = 64, 6  # groups of neurons that a request may ask for; the article's number
_USUAL_CLASSES = 5
_USUAL_PAGE, _MAX_PAGE = 100, 1000
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line breaks. Joiners (Persian, emoji) and wide spaces are text."""
_MAX_PATH = 4096  # characters, as Linux has it
_SHOWN_EXTENTS = 8  # of a tensor's shape, in a message
_SUGGESTED = 2  # layers or classes, in a message
_MAX_TEXT = 200  # characters: a name, not an essay
_FITS: dict[int, Fit] = {
    pb.FIT_UNSPECIFIED: Fit.CROP,
    pb.FIT_CROP: Fit.CROP,
    pb.FIT_STRETCH: Fit.STRETCH,
    pb.FIT_PAD: Fit.PAD,
}


def bounded(given: str, field: str) -> str:
    """Return a text that is no name, but no essay either."""
    if len(given) > _MAX_TEXT:
        raise InvalidArgument(field, f"has {len(given)} characters; at most {_MAX_TEXT} are allowed.")
    return given


def path(given: str, field: str) -> str:
    """Return the path of a file or folder on the server's machine; it may be empty."""
    if len(given) > _MAX_PATH or _UNPRINTABLE.search(given):
        raise InvalidArgument(field, f"should be a path of at most {_MAX_PATH} characters without control characters.")
    return given


def choice(value: int, known: Mapping[int, T], field: str, enum: Any) -> T:
    """Return what an enum's value means.

    Raises:
        InvalidArgument: the value is none of `known`; says which there are.
    """
    if value not in known:
        prefix = enum.Name(0).removesuffix("UNSPECIFIED")
        names = [enum.Name(number).removeprefix(prefix) for number in known if number]
        listing = f"{', '.join(names[:-1])} or {names[-1]}"
        raise InvalidArgument(field, f"is {value}; it should be {listing}.")
    return known[value]


def find_model(models: Sequence[ModelDescription], name: str) -> ModelDescription:
    """Return the model of that name, the default one for the empty name."""
    by_name = {model.name: model for model in models} | {"": models[0]}
    if name not in by_name:
        listing = f"this server has {', '.join(model.name for model in models)}"
        raise NotFound.among("model", name, [model.name for model in models], listing)
    return by_name[name]


def find_layer(model: ModelDescription, name: str, field: str) -> LayerDescription:
    """Return a layer by its path or alias."""
    if not name:
        raise InvalidArgument(field, f"is empty; name a layer of {model.name}, such as {model.layers[-1].path!r}.")
    if name in model.left_out:
        raise InvalidArgument(
            field, f"{name!r} is no layer that can be asked for: {model.left_out[name]}{_near(model, name)}."
        )
    if name not in model.layer_by_name:
        some = ", ".join(layer.path for layer in model.layers[-_SUGGESTED:])
        listing = f"{model.name} has {len(model.layers)}, the last of which are {some}"
        raise NotFound.among("layer", name, model.layer_by_name, listing)
    return model.layer_by_name[name]


def find_map(model: ModelDescription, name: str, field: str) -> LayerDescription:
    """Return a layer whose output holds a map of positions and channels."""
    layer = find_layer(model, name, field)
    if not layer.is_map:
        raise InvalidArgument(
            field,
            f"{layer.path!r} ({layer.type}, {list(layer.shape)}) holds no map of positions and "
            f"channels{_near(model, layer.path)}.",
        )
    return layer


def _near(model: ModelDescription, path: str) -> str:
    """Return an advice: the maps whose paths share most of their beginning with a module's."""
    names = path.split(".")

    def shared(layer: LayerDescription) -> int:
        pairs = zip(names, layer.path.split("."), strict=False)
        return next((number for number, (one, other) in enumerate(pairs) if one != other), len(names))

    maps = sorted((layer for layer in model.layers if layer.is_map), key=shared, reverse=True)[:_SUGGESTED]
    return f"; near it are {' and '.join(repr(layer.path) for layer in maps)}" if maps else ""


def in_range(value: int, field: str, low: int, high: int, why: str = "") -> int:
    """Return `value`, which must be `low` to `high`."""
    if not low <= value <= high:
        raise InvalidArgument(field, f"is {value}; it should be {low} to {high}{why and f' ({why})'}.")
    return value


def page_by_name(request: Any, listed: Sequence[N]) -> tuple[Sequence[N], str]:
    """Return the page of a list by names that a request wants, and the next page's token; empty: it is the last."""
    after = bounded(request.page_token, "page_token")
    size = in_range(request.page_size or _USUAL_PAGE, "page_size", 1, _MAX_PAGE)
    left = [each for each in listed if each.name > after]
    return left[:size], left[size - 1].name if len(left) > size else ""


def find_layers(model: ModelDescription, names: Sequence[str]) -> list[LayerDescription]:
    """Return the layers of a field `layers`: at least one, no two the same."""
    if not names:
        raise InvalidArgument("layers", "is empty; name at least one layer.")
    if len(names) > len(model.layers):
        raise InvalidArgument("layers", f"holds {len(names)} names, and {model.name} has {len(model.layers)} layers.")
    layers = [find_layer(model, name, f"layers[{number}]") for number, name in enumerate(names)]
    if len({layer.path for layer in layers}) < len(layers):
        raise InvalidArgument("layers", "names a layer twice.")
    return layers


def text(given: str, field: str, least: int = 0, most: int = _MAX_TEXT) -> str:
    """Return a name in any script, which must be at least so many characters, not too long, and on one line."""
    if not least <= len(given) <= most:
        raise InvalidArgument(field, f"has {len(given)} characters; it should have {least} to {most}.")
    if least and not given.strip():
        raise InvalidArgument(field, "is blank.")
    if _UNPRINTABLE.search(given):
        raise InvalidArgument(field, "has a control character or a line break; it should be text on one line.")
    return given


def class_count(
    request: messages.ActivationsRequest
    | messages.SemanticDictionaryRequest
    | messages.FactorizeRequest
    | messages.FactorizeLayersRequest,
    model: ModelDescription,
) -> int:
    """Return how many classes to predict, 5 by default."""
    most = min(MAX_CLASSES, len(model.classes))
    if request.HasField("classes"):
        return in_range(request.classes, "classes", 0, most)
    return min(_USUAL_CLASSES, most)


def find_channels(channels: Sequence[int], layers: Sequence[LayerDescription]) -> tuple[int, ...]:
    """Return channels that all of the layers have."""
    for layer in layers:
        if len(channels) > layer.channels:
            raise InvalidArgument("channels", f"are {len(channels)}, and {layer.path} has {layer.channels}.")
        for position, channel in enumerate(channels):
            in_range(channel, f"channels[{position}]", 0, layer.channels - 1, f"{layer.path} has {layer.channels}")
    return tuple(channels)


def find_positions(
    positions: Sequence[messages.Position], layers: Sequence[LayerDescription]
) -> tuple[tuple[int, int], ...]:
    """Return rows and columns that the maps of all of the layers have."""
    for layer in layers if positions else ():
        if not layer.is_map:
            raise InvalidArgument(
                "positions", f"are those of maps, and {layer.path} {list(layer.shape)} holds none; leave them away."
            )
        height, width = layer.grid
        if len(positions) > layer.positions:
            raise InvalidArgument("positions", f"are {len(positions)}, and {layer.path} has {layer.positions}.")
        for number, position in enumerate(positions):
            in_range(position.row, f"positions[{number}].row", 0, height - 1, f"{layer.path} has {height} rows")
            in_range(position.column, f"positions[{number}].column", 0, width - 1, f"{layer.path} has {width} columns")
    return tuple((position.row, position.column) for position in positions)


def find_prefix_tokens(given: Sequence[str], layers: Sequence[LayerDescription]) -> tuple[int, ...]:
    """Return the indices of tokens before the first position, by name or by index; all of the layers must have them."""
    for layer in layers if given else ():
        known = {name: index for index, name in enumerate(layer.prefix_tokens) if name}
        known |= {str(index): index for index in range(len(layer.prefix_tokens))}
        if not known:
            raise InvalidArgument("prefix_tokens", f"are none of {layer.path}'s, which has positions only.")
        if len(given) > len(layer.prefix_tokens):
            raise InvalidArgument(
                "prefix_tokens", f"are {len(given)}, and {layer.path} has {len(layer.prefix_tokens)}."
            )
        for number, name in enumerate(given):
            if name not in known:
                names = ", ".join(known)
                raise InvalidArgument(f"prefix_tokens[{number}]", f"is {shown(name)}; {layer.path} has {names}.")
        indices = tuple(known[name] for name in given)
        if len({*indices}) < len(indices):
            raise InvalidArgument("prefix_tokens", "name a token twice.")
        if len({each.prefix_tokens for each in layers}) > 1:
            raise InvalidArgument("prefix_tokens", "of these layers differ; ask for one layer at a time.")
        return indices
    return ()


def check_image_count(count: int, field: str, most: int) -> None:
    """Refuse no images, and more than `most`, which one message may bring."""
    if not count:
        raise InvalidArgument(field, f"is empty; send 1 to {most} images.")
    if count > most:
        raise InvalidArgument(field, f"holds {count} images; send at most {most} in one request.")


def read_images(images: Sequence[pb.Image], field: str, fit: Fit, model: ModelDescription, most: int) -> GivenImages:
    """Read the field that holds a request's images.

    Raises:
        InvalidArgument: there are none, or more than `most`, or of different kinds, or one of them is no image.
    """
    check_image_count(len(images), field, most)
    if len({image.WhichOneof("source") == "preprocessed" for image in images}) > 1:
        raise InvalidArgument(field, "mixes preprocessed images with others; send them in requests of their own.")
    given = [read_image(image, f"{field}[{number}]", model.preprocessing) for number, image in enumerate(images)]
    return GivenImages(given, fit)


def read_image(image: pb.Image, field: str, preprocessing: Preprocessing) -> GivenImage:
    """Read an image, whose files are left as they are.

    Raises:
        InvalidArgument: it is empty, or a tensor of another type or shape than it should be.
    """
    channels = len(preprocessing.mean)
    match image.WhichOneof("source"):
        case "encoded":
            return GivenImage(image.encoded, field)
        case "pixels":
            shape, tensor = tuple(image.pixels.shape), image.pixels
            taken = {channels} if channels not in (1, 4) else {channels, 3}  # RGB becomes grey or RGBA
            if tensor.dtype != pb.DATA_TYPE_UINT8 or len(shape) != 3 or shape[2] not in taken or 0 in shape:
                of = "3], RGB" if channels == 3 else f"{channels}]"
                raise InvalidArgument(
                    f"{field}.pixels", f"should be uint8 [height, width, {of}, and is {_describe(tensor)}."
                )
            return GivenImage(read_tensor(tensor, f"{field}.pixels"), field)
        case "preprocessed":
            expected, tensor = (channels, *preprocessing.size), image.preprocessed
            floats = (pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT16)
            if tensor.dtype not in floats or tuple(tensor.shape) != expected:
                raise InvalidArgument(
                    f"{field}.preprocessed",
                    f"should be float32 or float16 {list(expected)}, normalized, and is {_describe(tensor)}.",
                )
            return GivenImage(read_tensor(tensor, f"{field}.preprocessed"), field)
    raise InvalidArgument(field, "is empty; set encoded, pixels or preprocessed.")


def read_fit(fit: int, field: str) -> Fit:
    return choice(fit, _FITS, field, pb.Fit)


def read_tensor(tensor: pb.Tensor, field: str) -> NDArray[np.generic]:
    """Return a tensor's elements, which cannot be written to."""
    try:
        return array_from_tensor(tensor)
    except ValueError as error:
        raise InvalidArgument(field, str(error)) from error


def read_direction(tensor: pb.Tensor, field: str, layer: LayerDescription) -> NDArray[np.floating]:
    """Return a direction [C] in the space of a layer's channels."""
    return read_vector(tensor, field, layer.channels, f"the channels of {layer.path}")


def read_vector(tensor: pb.Tensor, field: str, length: int, of: str) -> NDArray[np.floating]:
    """Return a vector of so many finite numbers, not all 0.

    Args:
        of: what the numbers are of, for the message.
    """
    vector: NDArray[Any] = read_tensor(tensor, field)
    if vector.dtype.kind != "f" or vector.shape != (length,):
        raise InvalidArgument(field, f"should be float32 or float16 [{length}], {of}; it is {_describe(tensor)}.")
    if not np.isfinite(vector).all() or not vector.any():
        raise InvalidArgument(field, "should be finite and not all 0.")
    return vector


def read_icon_options(
    request: messages.SemanticDictionaryRequest | messages.FactorizeRequest | messages.FactorizeLayersRequest,
    model: ModelDescription,
    recipes: RecipeChoice,
) -> IconOptions:
    return IconOptions(recipes.choose(request.recipe, model), omit=request.omit_icons, wait=request.wait_for_icons)


def basis_name(name: str, field: str) -> str:
    """Return a name that a basis can have."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            field,
            f"is {shown(name)}; it should be 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit.",
        )
    return name


def _describe(tensor: pb.Tensor) -> str:
    number, shape = int(tensor.dtype), list(tensor.shape[:_SHOWN_EXTENTS])
    known = pb.DataType.Name(number).removeprefix("DATA_TYPE_").lower() if number in pb.DataType.values() else number
    return f"{known} {shape}{'…' if len(tensor.shape) > _SHOWN_EXTENTS else ''}"
