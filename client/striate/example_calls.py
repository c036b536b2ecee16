"""Natural examples through ExampleService: for the client that blocks and for the one that is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import timezone
from typing import TYPE_CHECKING

from striate.calls import Fit, enum_value, example, label, layer_result, model_ref
from striate.connection import Connected
from striate.example_results import ChannelExamples, IndexProgress, LayerExamples
from striate.images import LabelledImage, write_image
from striate.uploads import Upload
from striate.v1 import common_pb2 as pb
from striate.v1 import examples_pb2 as messages
from striate.v1.examples_pb2_grpc import ExampleServiceStub

if TYPE_CHECKING:
    from striate.v1.examples_pb2_grpc import ExampleServiceAsyncStub


class ExampleCalls(Connected):
    _examples: ExampleServiceStub

    def index_examples(
        self,
        images: Iterable[LabelledImage],
        layers: str | Sequence[str],
        *,
        model: str = "",
        examples: int | None = None,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Iterator[IndexProgress]:
        """Run images through a model once, keep what they show of some layers, and yield progress.

        What the layers had before is replaced when all images have been sent; a call that ends otherwise changes
        nothing. Images are read as the server takes them, so there may be any number of them.

        Args:
            images: such as `striate.image_folder` lists.
            layers: paths or aliases.
            examples: how many to keep of each channel, 5 by default.
            timeout: without limit by default.
        """
        call = _Indexing(images, layers, model, examples, fit, self._connection.max_message_bytes)
        with self._errors(), call.errors():
            for response in self._examples.IndexExamples(call.requests(), **self._how_long(timeout)):
                yield call.progress(response)

    def examples(
        self,
        layer: str,
        channels: Sequence[int] | None = None,
        *,
        model: str = "",
        examples: int | None = None,
        classes: int | None = None,
        timeout: float | None = None,
    ) -> LayerExamples:
        """Return what natural images have shown of a layer that has been indexed.

        Args:
            channels: all by default.
            examples: of each channel, all that are kept by default.
            classes: those that excite each channel most, 5 by default.
        """
        request = _request(layer, channels, model, examples, classes)
        with self._errors():
            response = self._examples.GetExamples(request, **self._how(timeout))
        return _result(response)


class AwaitedExampleCalls(Connected):
    _examples: ExampleServiceAsyncStub

    async def index_examples(
        self,
        images: Iterable[LabelledImage],
        layers: str | Sequence[str],
        *,
        model: str = "",
        examples: int | None = None,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> AsyncIterator[IndexProgress]:
        """Run images through a model once, keep what they show of some layers, and yield progress.

        What the layers had before is replaced when all images have been sent; a call that ends otherwise changes
        nothing. Images are read, in a thread, as the server takes them, so there may be any number of them.

        Args:
            images: such as `striate.image_folder` lists.
            layers: paths or aliases.
            examples: how many to keep of each channel, 5 by default.
            timeout: without limit by default.
        """
        call = _Indexing(images, layers, model, examples, fit, self._connection.max_message_bytes)

        async def requests() -> AsyncIterator[messages.IndexExamplesRequest]:
            upcoming = call.requests()
            while (request := await asyncio.to_thread(next, upcoming, None)) is not None:
                yield request

        with self._errors(), call.errors():
            async for response in self._examples.IndexExamples(requests(), **self._how_long(timeout)):
                yield call.progress(response)

    async def examples(
        self,
        layer: str,
        channels: Sequence[int] | None = None,
        *,
        model: str = "",
        examples: int | None = None,
        classes: int | None = None,
        timeout: float | None = None,
    ) -> LayerExamples:
        """Return what natural images have shown of a layer that has been indexed.

        Args:
            channels: all by default.
            examples: of each channel, all that are kept by default.
            classes: those that excite each channel most, 5 by default.
        """
        request = _request(layer, channels, model, examples, classes)
        with self._errors():
            response = await self._examples.GetExamples(request, **self._how(timeout))
        return _result(response)


class _Indexing:
    """One call of `IndexExamples`."""

    def __init__(
        self,
        images: Iterable[LabelledImage],
        layers: str | Sequence[str],
        model: str,
        examples: int | None,
        fit: Fit,
        max_message_bytes: int,
    ) -> None:
        self._images = images
        self._start = messages.IndexStart(
            model=model,
            layers=[layers] if isinstance(layers, str) else list(layers),
            fit=enum_value(pb.Fit, "FIT", fit, "fit"),
            examples=examples,
        )
        self._upload = Upload(max_message_bytes)
        self.errors = self._upload.errors

    def requests(self) -> Iterator[messages.IndexExamplesRequest]:
        return self._upload.requests(
            messages.IndexExamplesRequest(start=self._start),
            ((image.name, _labelled(image)) for image in self._images),
            lambda batch: messages.IndexExamplesRequest(images=messages.IndexImages(images=batch)),
        )

    def progress(self, response: messages.IndexExamplesResponse) -> IndexProgress:
        return IndexProgress(
            indexed=response.indexed,
            skipped=[*self._upload.skipped(), *((each.name, each.reason) for each in response.skipped)],
            layers={layer_result(each.layer): each.named_channels for each in response.layers},
        )


def _labelled(image: LabelledImage) -> messages.LabelledImage:
    message = messages.LabelledImage(class_name=image.class_name, name=image.name)
    write_image(message.image, image.image)
    return message


def _request(
    layer: str, channels: Sequence[int] | None, model: str, examples: int | None, classes: int | None
) -> messages.GetExamplesRequest:
    return messages.GetExamplesRequest(
        model=model, layer=layer, channels=channels or (), examples=examples, classes=classes
    )


def _result(response: messages.GetExamplesResponse) -> LayerExamples:
    layer = layer_result(response.layer)
    return LayerExamples(
        model=model_ref(response.model),
        layer=layer,
        images=response.images,
        indexed=response.index_time.ToDatetime(timezone.utc),
        channels={
            each.channel: ChannelExamples(
                channel=each.channel,
                label=label(each.label, layer.name, each.channel),
                examples=[example(one) for one in each.examples],
                quantiles=dict(zip((round(share, 6) for share in response.shares), each.quantiles, strict=True)),
                mean_peaks={one.class_name: one.mean_peak for one in each.classes},
            )
            for each in response.channels
        },
    )
