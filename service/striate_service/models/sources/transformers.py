"""Networks of Hugging Face's transformers from a folder, as `save_pretrained` writes it: transformers:FOLDER.

The folder's config names the network and its classes, its image processor the preprocessing. Nothing is downloaded, and
no code in the folder is run. Of networks of images and texts, such as CLIP, the image tower is served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate_service.config import ModelSettings
from striate_service.models.description import Preprocessing, Tokens
from striate_service.models.errors import ModelError, in_short
from striate_service.models.sources.extras import import_extra
from striate_service.models.sources.source import Architecture, Metadata
from striate_service.models.weights import Weights

_TOWERS = {
    "CLIPModel": "CLIPVisionModelWithProjection",
    "SiglipModel": "SiglipVisionModel",
    "Siglip2Model": "Siglip2VisionModel",
}
"""Of networks that take texts too, the class of their image tower."""
_BILINEAR = 2  # Pillow's number


def owns(model: ModelSettings) -> bool:
    return model.architecture == "transformers"


def find(model: ModelSettings) -> Architecture:
    _folder(model)
    return Architecture(lambda _weights: _loaded(model), tokens=_tokens)


def own_weights(model: ModelSettings) -> Weights | None:
    return Weights({}, are_built=True) if owns(model) else None


def metadata(model: ModelSettings, _weights: Weights) -> Metadata:
    folder, transformers = _folder(model), import_extra("transformers")
    config = _config(folder)
    labels = getattr(config, "id2label", None) or {}
    names = tuple(str(labels[index]) for index in sorted(labels))
    named = any(name != f"LABEL_{index}" for index, name in enumerate(names))
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return Metadata(None, names if named else ())
    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Metadata(_preprocessing(processor.to_dict(), config), names if named else ())


def _folder(model: ModelSettings) -> Path:
    folder = Path(model.weights).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{model.weights} is no folder with a config.json, as save_pretrained writes it.")
    return folder


def _config(folder: Path) -> Any:
    transformers = import_extra("transformers")
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ValueError as error:
        raise ModelError(
            f"this version of transformers cannot read {folder.name}/config.json ({in_short(error)})."
        ) from error


def _loaded(model: ModelSettings) -> nn.Module:
    """Return the folder's network with its weights, which transformers reads itself: it knows their older names."""
    folder, transformers = _folder(model), import_extra("transformers")
    transformers.logging.set_verbosity_error()  # what matters is said below
    transformers.logging.disable_progress_bar()
    config = _config(folder)
    name = (config.architectures or ["AutoModelForImageClassification"])[0]
    if name in _TOWERS:
        of_images = config.vision_config
        of_images.projection_dim = getattr(config, "projection_dim", None)
        config = of_images
    network_class = getattr(transformers, _TOWERS.get(name, name), None)
    if network_class is None:
        raise ModelError(f"this version of transformers has no {name}.")
    network, found = network_class.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
        **model.arguments,
    )
    absent = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if absent:
        some = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise ModelError(
            f"the folder's weights do not fit {name}: {len(absent)} are missing or of other shapes ({some})."
        )
    if getattr(network, "is_quantized", False) or getattr(network.config, "quantization_config", None):
        raise ModelError("its weights are quantized: serve those they were made from.")
    if getattr(network, "main_input_name", "pixel_values") != "pixel_values":
        raise ModelError(f"{name} takes {network.main_input_name}, and only images can be given.")
    loaded: nn.Module = network
    return loaded


def _tokens(network: nn.Module) -> Tokens | None:
    """Return the grid of the config's patches. The parameters' names tell the tokens before it."""
    config = getattr(network.config, "vision_config", network.config)
    image, patch = (_pair(getattr(config, key, None)) for key in ("image_size", "patch_size"))
    if image is None or patch is None:
        return None
    return Tokens((image[0] // patch[0], image[1] // patch[1]))


def _pair(size: Any) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list | tuple) else None


def _preprocessing(processor: dict[str, Any], config: Any) -> Preprocessing | None:
    size, crop = (_size(processor.get(key)) for key in ("size", "crop_size"))
    if not processor.get("do_center_crop"):
        crop = None
    size = size if processor.get("do_resize", True) else None
    if isinstance(size, int) and crop is None:
        # The shorter side, and the whole picture: networks of one size take the middle. ConvNeXt's processor says how.
        crop, percent = size, processor.get("crop_pct")
        size = int(size / percent) if percent and size < 384 else size
    if size is None and crop is None:
        image_size = getattr(config, "image_size", None)
        if image_size is None:
            return None
        crop = size = image_size if isinstance(image_size, int) else tuple(image_size)
    size, crop = size or crop, crop or size
    assert size is not None
    assert crop is not None
    crop = crop[0] if isinstance(crop, tuple) and crop[0] == crop[1] else crop
    channels = getattr(config, "num_channels", 3)
    mean, std = _statistics(processor, channels)
    interpolation = "bilinear" if processor.get("resample") == _BILINEAR else "bicubic"
    return Preprocessing(size, crop, interpolation, mean, std)


def _size(size: Any) -> int | tuple[int, int] | None:
    """Return the shorter side, or height and width: one number where they are equal and the crop's."""
    if size is None or isinstance(size, int):
        return size
    sides = {key: value for key, value in dict(size).items() if value is not None}
    if "shortest_edge" in sides:
        return int(sides["shortest_edge"])
    if {"height", "width"} <= sides.keys():
        return int(sides["height"]), int(sides["width"])
    return None


def _statistics(processor: dict[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of values from 0 to 1."""
    factor = 255 * processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 255.0
    mean, std = [0.0], [1.0]
    if processor.get("do_normalize", True):
        mean, std = processor["image_mean"], processor["image_std"]
    mean, std = (list(values) * channels if len(values) == 1 else list(values) for values in (mean, std))
    return tuple(value / factor for value in mean), tuple(value / factor for value in std)
