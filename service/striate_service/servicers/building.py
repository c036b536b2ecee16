"""BuildBasis: groups found in more images than fit into memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from striate.v1 import bases_pb2 as messages
from striate.v1 import common_pb2 as pb
from striate.v1 import examples_pb2

from striate_service.backends.local.spool import Failed, Found, Progress, Spool, SpoolFull
from striate_service.config import Settings
from striate_service.errors import AlreadyExists, InvalidArgument, NotFound, WorkFailed
from striate_service.models.description import LayerDescription, ModelDescription
from striate_service.scheduling.engine import Engine, Terms
from striate_service.servicers import validation
from striate_service.servicers.decoding import ImageDecoder
from striate_service.servicers.library import Library, basis_message, check_name
from striate_service.servicers.server_folders import images_in
from striate_service.servicers.streams import in_order
from striate_service.stores.bases import StoredBasis
from striate_service.techniques import palette
from striate_service.techniques.tasks import ActivationsTask

_MAX_COMPONENTS, _USUAL_COMPONENTS = 64, 6
_BATCHES_PER_WORKER = 2  # that are worked on at a time: one computes while the next is decoded
_FROM_FOLDER = 16  # images that are read at a time: they wait in memory as files


@dataclass(frozen=True)
class _Plan:
    """What is to be built."""

    name: str
    model: ModelDescription
    layer: LayerDescription
    components: int
    fit: pb.Fit
    rectify: bool
    folder: Path | None
    """On the server's machine; None: the caller sends images."""
    files: Sequence[Path]
    """The images in it."""

    @property
    def total(self) -> int | None:
        return None if self.folder is None else len(self.files)


@dataclass(frozen=True)
class _Given:
    """Images as they came."""

    images: Sequence[pb.Image]
    names: Sequence[str]


@dataclass(frozen=True)
class _Seen:
    """Images that have been through the network."""

    activations: NDArray[np.float16]
    """[N, C, H, W]"""
    skipped: Sequence[examples_pb2.SkippedImage]


class BasisBuilding:
    def __init__(self, engine: Engine, decoder: ImageDecoder, library: Library, settings: Settings) -> None:
        self._engine = engine
        self._decoder = decoder
        self._library = library
        self._settings = settings
        self._factorizing = asyncio.Lock()
        """One at a time: each takes a core."""

    async def build(
        self, requests: AsyncIterator[messages.BuildBasisRequest], terms: Terms
    ) -> AsyncGenerator[messages.BuildBasisResponse, None]:
        """Run a stream's images through the network, factorize what the layer made of them, and save the groups."""
        plan = await self._plan(await anext(requests, None))
        given = self._sent(requests) if plan.folder is None else _read(plan.folder, plan.files)
        window = _BATCHES_PER_WORKER * self._engine.worker_count
        count = 0
        with Spool(self._settings.home, plan.layer.channels, self._settings.max_basis_bytes) as spool:
            seen_in_order = in_order(given, lambda each: self._see(each, plan, terms), window)
            async with aclosing(seen_in_order) as batches:
                async for seen in batches:
                    await self._spool(spool, seen.activations, plan, count)
                    count += len(seen.activations)
                    yield messages.BuildBasisResponse(
                        phase=messages.BUILD_PHASE_READING,
                        image_count=count,
                        total_images=plan.total,
                        skipped=seen.skipped,
                    )
            if not count:
                raise InvalidArgument("images", "are none that could be read; nothing was built.")
            if plan.components > spool.rows:
                raise InvalidArgument(
                    "components", f"is {plan.components}, but {count} images have {spool.rows} positions."
                )
            async with self._factorizing, aclosing(spool.factorize(plan.components)) as steps:
                async for step in steps:
                    if isinstance(step, Progress):
                        yield messages.BuildBasisResponse(
                            phase=messages.BUILD_PHASE_FACTORIZING,
                            image_count=count,
                            total_images=plan.total,
                            progress=step.share,
                        )
                    elif isinstance(step, Failed):
                        raise WorkFailed(step.reason)
                    else:
                        basis = await self._library.save(_basis(plan, step, count))
                        yield messages.BuildBasisResponse(
                            phase=messages.BUILD_PHASE_SAVED,
                            image_count=count,
                            total_images=plan.total,
                            progress=1.0,
                            basis=basis_message(basis),
                        )

    async def _plan(self, first: messages.BuildBasisRequest | None) -> _Plan:
        if first is None or first.WhichOneof("part") != "start":
            raise InvalidArgument("start", "is missing; the first message says what to build.")
        start = first.start
        check_name(start.name, "start.name")
        model = validation.find_model(self._engine.models, start.model)
        layer = validation.find_spatial_layer(model, start.layer, "start.layer")
        most = min(layer.channels, _MAX_COMPONENTS)
        wanted = start.components if start.HasField("components") else min(_USUAL_COMPONENTS, most)
        components = validation.in_range(
            wanted, "start.components", 1, most, f"{layer.path} has {layer.channels} channels"
        )
        folder: Path | None = None
        files: Sequence[Path] = ()
        if start.folder:
            folder, files = await asyncio.to_thread(
                images_in, start.folder, self._settings.image_folders, "start.folder"
            )
        try:
            await self._library.find(start.name, "start.name")
        except NotFound:
            return _Plan(start.name, model, layer, components, start.fit or pb.FIT_CROP, start.rectify, folder, files)
        raise AlreadyExists("basis", start.name, "delete it first, or build under another name")

    async def _sent(self, requests: AsyncIterator[messages.BuildBasisRequest]) -> AsyncGenerator[_Given, None]:
        number = 0
        async for request in requests:
            if request.WhichOneof("part") != "images":
                raise InvalidArgument("images", "are missing; every message but the first one brings some.")
            images = request.images.images
            self._decoder.check_count(len(images), "images")
            yield _Given(images, [str(number + position) for position in range(len(images))])
            number += len(images)

    async def _see(self, given: _Given, plan: _Plan, terms: Terms) -> _Seen:
        """Run images through the network, but for those that cannot be read."""
        task = ActivationsTask(plan.model.name, (), 0, (plan.layer.path,), "none", (), half=True)
        async with self._engine.admission(
            ActivationsTask.__name__, plan.model.name, len(given.images), preprocessed=False, terms=terms
        ) as place:
            decoded = await asyncio.gather(*(self._decode(image, plan) for image in given.images))
            good = [pixels for pixels in decoded if not isinstance(pixels, str)]
            skipped = [
                examples_pb2.SkippedImage(name=name, reason=reason)
                for name, reason in zip(given.names, decoded, strict=True)
                if isinstance(reason, str)
            ]
            if not good:
                return _Seen(np.empty((0, *plan.layer.shape), np.float16), skipped)
            arrays = await place.run(task, {"images": np.stack(good)})
        return _Seen(arrays[plan.layer.path], skipped)

    async def _decode(self, image: pb.Image, plan: _Plan) -> NDArray[np.generic] | str:
        """Return an image's pixels, or why there are none."""
        if image.WhichOneof("source") == "preprocessed":
            return "is preprocessed; send files or pixels."
        return await self._decoder.pixels_or_reason(image, plan.model, plan.fit)

    async def _spool(self, spool: Spool, activations: NDArray[np.float16], plan: _Plan, count: int) -> None:
        if plan.rectify:
            activations = activations.clip(min=0)
        if activations.size and activations.min() < 0:
            raise InvalidArgument(
                "start.layer",
                f"is {plan.layer.path!r}, which has negative values (as low as {activations.min():.3g}); "
                "choose a layer after a ReLU, or set rectify to count them as 0.",
            )
        if not np.isfinite(activations).all():
            raise InvalidArgument(
                "start.layer", f"is {plan.layer.path!r}, whose activations are beyond what float16 holds."
            )
        try:
            await asyncio.to_thread(spool.add, activations)
        except SpoolFull as error:
            limit = self._settings.max_basis_bytes
            raise InvalidArgument(
                "images", f"are more than this server takes for a basis: {count} fill its {limit / 2**20:.0f} MiB."
            ) from error


async def _read(folder: Path, files: Sequence[Path]) -> AsyncGenerator[_Given, None]:
    """Read files of the server's own machine, a few at a time."""
    for start in range(0, len(files), _FROM_FOLDER):
        chosen = files[start : start + _FROM_FOLDER]
        data = await asyncio.gather(*(asyncio.to_thread(_bytes, file) for file in chosen))
        yield _Given(
            [pb.Image(encoded=each) for each in data], [file.relative_to(folder).as_posix() for file in chosen]
        )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # no image, as the decoder will say


def _basis(plan: _Plan, found: Found, images: int) -> StoredBasis:
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
        fit=int(plan.fit),
        rectify=plan.rectify,
    )
