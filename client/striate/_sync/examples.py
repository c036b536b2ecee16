# Generated from client/striate/_async/examples.py by `make client`. Do not edit.
"""The calls of ExampleService: what natural images show of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import grpc

from striate._sync.base import Connected
from striate.calls.get_examples import GetExamplesCall
from striate.calls.index_examples import IndexExamplesCall
from striate.calls.options import Fit
from striate.images import LabelledImage
from striate.results.examples import IndexProgress, LayerExamples
from striate.transport import Connection, open_sync_stream, sync_requests
from striate.v1.examples_pb2_grpc import ExampleServiceStub


class ExampleCalls(Connected):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._examples = ExampleServiceStub(self._channel)

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
        nothing. The options are those of `calls.index_examples`.

        Args:
            timeout: without limit by default.
        """
        call = IndexExamplesCall(images=images, layers=layers, model=model, examples=examples, fit=fit)
        upload = call.upload(self._connection.max_message_bytes)
        requests = sync_requests(upload.requests())
        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors(), upload.errors():
            for response in open_sync_stream(self._examples.IndexExamples, requests, **call_options):
                yield call.result(response, upload)

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
        """Return what natural images have shown of a layer that has been indexed: see `calls.get_examples`."""
        call = GetExamplesCall(layer=layer, channels=channels, model=model, examples=examples, classes=classes)
        request = call.request()
        with self._connection.errors():
            response = self._examples.GetExamples(request, **self._connection.call_options(timeout))
        return call.result(response)
