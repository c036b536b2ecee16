"""Building a basis: groups found in more images than fit into memory.

The images go through the network, the layer's activations into a spool on disk, and the groups are found there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from striate_service.backends.protocol import Spool, SpoolBasis, SpoolFailed, SpoolFull, SpoolProgress
from striate_service.config import Settings
from striate_service.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable, WorkFailed, storing
from striate_service.explain.bases import Library
from striate_service.explain.images import Fit, GivenImage
from striate_service.explain.server_folders import images_in, name_in
from striate_service.explain.streams import ImageStreams, SkippedImage, StreamedImage
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Terms
from striate_service.stores.bases import StoredBasis
from striate_service.techniques import palette
from striate_service.techniques.methods import Method
from striate_service.techniques.tasks.activations import ActivationsTask

_SPOOLED = "what the layer computes for the images"
_RETRY_WHEN_FULL = 60.0  # seconds: building takes minutes
_FILES_AT_A_TIME = 16  # that are read from a folder: they wait in memory as files


@dataclass(frozen=True)
class BasisPlan:
    """What is to be built."""

    name: str
    """As `stores.bases.NAME` has it."""
    model: ModelDescription
    layer: LayerDescription
    components: int
    """K, at most C."""
    fit: Fit
    method: Literal["auto", "nmf", "semi-nmf"]
    rectify: bool
    """Count negative activations as 0."""
    folder: str = ""
    """On the server's own machine, to take the images from. Empty: the caller sends them."""


@dataclass(frozen=True)
class ReadingImages:
    """Images go through the network."""

    skipped: Sequence[SkippedImage]
    """Since the progress before."""


@dataclass(frozen=True)
class Factorizing:
    """All images have gone through the network; their activations are factorized."""

    share: float
    """How far, 0 to 1."""


@dataclass(frozen=True)
class Saved:
    """The basis is stored: the end."""

    basis: StoredBasis


@dataclass(frozen=True)
class BuildProgress:
    """How far a basis is."""

    image_count: int
    """Images that have gone through the network."""
    total_images: int | None
    """None: nobody knows before the caller has sent its last image."""
    phase: ReadingImages | Factorizing | Saved


class BasisBuilding:
    def __init__(
        self,
        streams: ImageStreams,
        library: Library,
        new_spool: Callable[[int], AbstractContextManager[Spool]],
        settings: Settings,
    ) -> None:
        """Take what computes and what keeps.

        Args:
            new_spool: makes an empty spool of activations of so many channels.
        """
        self._streams = streams
        self._library = library
        self._new_spool = new_spool
        self._settings = settings
        self._factorizing = asyncio.Lock()
        """One at a time: each takes a core."""

    async def build(
        self, plan: BasisPlan, sent: AsyncIterator[Sequence[StreamedImage]], terms: Terms
    ) -> AsyncGenerator[BuildProgress, None]:
        """Run images through the network, factorize the layer's activations, and save the groups.

        Args:
            sent: the caller's images, message by message, where the plan names no folder.

        Raises:
            RequestError: nothing is saved.
        """
        images, total = sent, None
        if plan.folder:
            folder, files = await asyncio.to_thread(
                images_in, plan.folder, self._settings.image_folders, "start.folder"
            )
            images, total = _read(folder, files), len(files)
        await self._check_name_is_free(plan.name)
        task = ActivationsTask(plan.model.name, (), 0, (plan.layer.path,), half=True, as_maps=True)
        count, signed = 0, False
        with storing(_SPOOLED):
            new_spool = self._new_spool(plan.layer.channels)
        with new_spool as spool:
            async with aclosing(self._streams.run(images, task, plan.model, plan.fit, terms)) as results:
                async for result in results:
                    for part in result.slices:
                        activations = part.result.layers[plan.layer.path]
                        signed |= bool(activations.size and activations.min() < 0) and not plan.rectify
                        await self._spool(spool, activations, plan, count)
                        count += len(part.images)
                    yield BuildProgress(count, total, ReadingImages(result.skipped))
            _check_size(spool, plan, count)
            method: Literal["nmf", "semi-nmf"] = "semi-nmf" if signed or plan.method == "semi-nmf" else "nmf"
            async with self._factorizing, aclosing(spool.factorize(plan.components, method, plan.rectify)) as steps:
                async for step in steps:
                    match step:
                        case SpoolProgress():
                            yield BuildProgress(count, total, Factorizing(step.share))
                        case SpoolFailed():
                            raise WorkFailed(step.reason)
                        case SpoolBasis():
                            basis = await self._library.save(_basis(plan, step, count, method))
                            yield BuildProgress(count, total, Saved(basis))

    async def _check_name_is_free(self, name: str) -> None:
        try:
            await self._library.find(name)
        except NotFound:
            return
        raise AlreadyExists("basis", name, "delete it first, or build under another name")

    async def _spool(self, spool: Spool, activations: NDArray[np.float16], plan: BasisPlan, count: int) -> None:
        """Append activations [N, C, H, W] to those of the `count` images before them."""
        if plan.method == "nmf" and not plan.rectify and activations.size and activations.min() < 0:
            raise InvalidArgument(
                "start.method",
                f"is NMF, but {plan.layer.path!r} has negative values (as low as {activations.min():.3g}); "
                "choose SEMI_NMF, or set rectify to count them as 0.",
            )
        if not np.isfinite(activations).all():
            raise InvalidArgument(
                "start.layer", f"is {plan.layer.path!r}, whose activations are beyond what float16 holds."
            )
        try:
            with storing(_SPOOLED):
                await asyncio.to_thread(spool.add, activations)
        except SpoolFull as error:
            limit = self._settings.max_basis_bytes
            if not error.alone:
                raise Unavailable(
                    f"bases that are being built now fill their {limit / 2**20:.0f} MiB; build this one later",
                    _RETRY_WHEN_FULL,
                ) from error
            raise InvalidArgument(
                "images", f"are more than this server takes for a basis: {count} fill its {limit / 2**20:.0f} MiB."
            ) from error


async def _read(folder: Path, files: Sequence[Path]) -> AsyncGenerator[Sequence[StreamedImage], None]:
    """Read files of the server's own machine, a few at a time."""
    for start in range(0, len(files), _FILES_AT_A_TIME):
        chosen = files[start : start + _FILES_AT_A_TIME]
        contents = await asyncio.gather(*(asyncio.to_thread(_bytes, file) for file in chosen))
        yield [
            StreamedImage(GivenImage(content, "image"), name_in(folder, file))
            for file, content in zip(chosen, contents, strict=True)
        ]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # which the decoder refuses as no image


def _check_size(spool: Spool, plan: BasisPlan, count: int) -> None:
    """Refuse to factorize fewer positions than groups are wanted."""
    if not count:
        raise InvalidArgument("images", "are none that could be read; nothing was built.")
    if plan.components > spool.rows:
        raise InvalidArgument("components", f"is {plan.components}, but {count} images have {spool.rows} positions.")


def _basis(plan: BasisPlan, found: SpoolBasis, images: int, method: Method) -> StoredBasis:
    return StoredBasis(
        name=plan.name,
        model_version=plan.model.version,
        model=plan.model.name,
        layer=plan.layer.path,
        directions=found.directions,
        colors=palette.colors(len(found.directions)),
        importance=found.importance,
        scale=found.scale,
        relative_error=found.relative_error,
        images=images,
        fit=plan.fit,
        rectify=plan.rectify,
        method=method,
    )
