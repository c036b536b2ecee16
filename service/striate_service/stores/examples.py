"""Natural examples of channels, stored as one file per layer and version of the weights, replaced as a whole.

The file is `examples/VERSION/LAYER.safetensors` below the server's home: arrays, pictures, and further facts as JSON.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from striate_service.stores.complaints import Complaints
from striate_service.stores.files import write_whole

logger = logging.getLogger(__name__)

_FORMAT = 1  # of files; those before it had no number
_CACHED_LAYERS = 8  # in memory, a few MB each


@dataclass(frozen=True)
class StoredExample:
    """A natural image that excites a channel."""

    channel: int
    activation: float
    """The channel's largest activation in the image."""
    class_name: str
    """Empty: unknown."""
    image_name: str
    """The caller's name for it; may be empty."""
    picture: bytes = field(repr=False)
    """A WebP file: the crop where the activation is largest."""


@dataclass(frozen=True)
class LayerExamples:
    """Examples and statistics of a layer over a folder of images. C channels, M classes."""

    images: int
    """The number of images."""
    created: datetime
    """UTC."""
    classes: tuple[str, ...]
    class_counts: NDArray[np.int64] = field(repr=False)
    """[M]: the number of images of each."""
    class_means: NDArray[np.float32] = field(repr=False)
    """[C, M]: the mean over a class's images of a channel's largest activation."""
    shares: tuple[float, ...]
    quantiles: NDArray[np.float32] = field(repr=False)
    """[C, len(shares)]: of a channel's activations over all images and positions."""
    named_class: NDArray[np.int32] = field(repr=False)
    """[C]: the class that names the channel; -1: no class scores high enough."""
    name_score: NDArray[np.float32] = field(repr=False)
    """[C]: the best class's score (`techniques.naming`), at most 1."""
    examples: Sequence[StoredExample] = field(repr=False)
    """Ordered by channel, then strongest first."""

    @property
    def named_channels(self) -> int:
        return int((self.named_class >= 0).sum())

    def of_channel(self, channel: int) -> Sequence[StoredExample]:
        """Return a channel's examples, strongest first; empty where no image excites it."""
        return self._by_channel.get(channel, ())

    @cached_property
    def _by_channel(self) -> dict[int, list[StoredExample]]:
        found: dict[int, list[StoredExample]] = {}
        for example in self.examples:
            found.setdefault(example.channel, []).append(example)
        return found


class ExampleStore:
    """Layers' examples below one folder. Blocking: call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = lru_cache(_CACHED_LAYERS)(_read)
        self._complaints = Complaints(logger)

    def get(self, version: str, layer: str) -> LayerExamples | None:
        """Return a layer's examples; None where it has not been indexed, or the file is damaged."""
        file = self._file(version, layer)
        try:
            return self._read(file, file.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complaints.tell(file, f"the examples in {file} cannot be read: {error}")
            return None
        except Exception as error:  # safetensors, json and numpy raise whatever the damaged bytes provoke
            self._complaints.tell(file, f"{file} is damaged, and its layer should be indexed again: {error}")
            return None

    def put(self, version: str, layer: str, examples: LayerExamples) -> None:
        """Store a layer's examples, replacing former ones. Readers see either the old or the new ones."""
        write_whole(self._file(version, layer), _packed(examples))

    def delete(self, version: str, layer: str) -> bool:
        """Delete a layer's examples, and return whether it had any."""
        try:
            self._file(version, layer).unlink()
        except FileNotFoundError:
            return False
        return True

    def _file(self, version: str, layer: str) -> Path:
        return self._folder / version[:16] / f"{layer}.safetensors"


def _packed(examples: LayerExamples) -> bytes:
    pictures = list(dict.fromkeys(example.picture for example in examples.examples))  # channels share many
    number = {picture: index for index, picture in enumerate(pictures)}
    facts = {
        "format": _FORMAT,
        "images": examples.images,
        "created": examples.created.isoformat(),
        "classes": examples.classes,
        "shares": examples.shares,
        "examples": [
            [example.channel, example.activation, example.class_name, example.image_name, number[example.picture]]
            for example in examples.examples
        ],
    }
    arrays = {
        "class_counts": examples.class_counts,
        "class_means": examples.class_means,
        "quantiles": examples.quantiles,
        "named_class": examples.named_class,
        "name_score": examples.name_score,
        "picture_ends": np.cumsum([len(picture) for picture in pictures], dtype=np.int64),
        "pictures": np.frombuffer(b"".join(pictures), np.uint8),
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
    }
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _read(file: Path, modified: int) -> LayerExamples:
    """Read a file. `modified` distinguishes its versions in the cache."""
    arrays = load(file.read_bytes())
    facts = json.loads(arrays["facts"].tobytes())
    if facts.get("format", 0) > _FORMAT:
        raise ValueError("a later version of striate wrote it")
    ends = arrays["picture_ends"].tolist()
    pictures = [arrays["pictures"][start:end].tobytes() for start, end in zip([0, *ends], ends, strict=False)]
    return LayerExamples(
        images=facts["images"],
        created=datetime.fromisoformat(facts["created"]).astimezone(timezone.utc),
        classes=tuple(facts["classes"]),
        class_counts=arrays["class_counts"],
        class_means=arrays["class_means"],
        shares=tuple(facts["shares"]),
        quantiles=arrays["quantiles"],
        named_class=arrays["named_class"],
        name_score=arrays["name_score"],
        examples=[
            StoredExample(channel, activation, class_name, image_name, pictures[picture])
            for channel, activation, class_name, image_name, picture in facts["examples"]
        ],
    )
