# Generated from client/striate/_async/bases.py by `make client`. Do not edit.
"""The calls of BasisService: groups of neurons that are kept under names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import grpc

from striate._sync.icons import IconCalls
from striate.calls.build_basis import BuildBasisCall
from striate.calls.get_basis import GetBasisCall
from striate.calls.list_bases import ListBasesCall
from striate.calls.options import Fit, Method
from striate.images import Image
from striate.results.bases import Basis, BuildProgress
from striate.transport import Connection, open_sync_stream, sync_requests
from striate.v1 import bases_pb2 as messages
from striate.v1.bases_pb2_grpc import BasisServiceStub


class BasisCalls(IconCalls):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._bases = BasisServiceStub(self._channel)

    def bases(self, *, model: str = "", timeout: float | None = None) -> list[Basis]:
        """Return all bases by name, without their groups: see `calls.list_bases`."""
        call = ListBasesCall(model=model)
        request = call.request()
        found: list[Basis] = []
        while True:
            with self._connection.errors():
                response = self._bases.ListBases(request, **self._connection.call_options(timeout))
            found += call.result(response)
            if not response.next_page_token:
                return found
            request = call.request(response.next_page_token)

    def basis(
        self, name: str, *, wait_for_icons: bool = False, icons: bool = True, timeout: float | None = None
    ) -> Basis:
        """Return a basis with its groups: see `calls.get_basis`."""
        call = GetBasisCall(name=name, wait_for_icons=wait_for_icons, icons=icons)
        request = call.request()
        call_options = self._connection.call_options(timeout, waits_for_icons=call.waits_for_icons)
        with self._connection.errors():
            response = self._bases.GetBasis(request, **call_options)
        return call.result(response, self)

    def build_basis(
        self,
        name: str,
        images: Iterable[Image],
        layer: str,
        *,
        model: str = "",
        components: int | None = None,
        method: Method | None = None,
        rectify: bool = False,
        fit: Fit = "crop",
        folder: str = "",
        timeout: float | None = None,
    ) -> Iterator[BuildProgress]:
        """Find groups in any number of images, save them as a basis, and yield progress: see `calls.build_basis`.

        Args:
            timeout: without limit by default.
        """
        call = BuildBasisCall(
            name=name,
            images=images,
            layer=layer,
            model=model,
            components=components,
            method=method,
            rectify=rectify,
            fit=fit,
            folder=folder,
        )
        upload = call.upload(self._connection.max_message_bytes)
        requests = sync_requests(upload.requests())
        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors(), upload.errors():
            for response in open_sync_stream(self._bases.BuildBasis, requests, **call_options):
                yield call.result(response, upload)

    def delete_basis(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a basis."""
        request = messages.DeleteBasisRequest(name=name)
        with self._connection.errors():
            self._bases.DeleteBasis(request, **self._connection.call_options(timeout))
