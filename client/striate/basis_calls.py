"""Keeping groups of neurons through BasisService: for the client that blocks and for the one that is awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

from striate.calls import Fit
from striate.connection import Connected
from striate.group_calls import BuildCall, bases_result, basis_result
from striate.groups import Basis, BuildProgress
from striate.images import Image
from striate.v1 import bases_pb2 as messages
from striate.v1.bases_pb2_grpc import BasisServiceStub

if TYPE_CHECKING:
    from striate.v1.bases_pb2_grpc import BasisServiceAsyncStub


class BasisCalls(Connected):
    _bases: BasisServiceStub

    def bases(self, *, model: str = "", timeout: float | None = None) -> list[Basis]:
        """Return all bases by name, without their groups.

        Args:
            model: only those of this model's present version.
        """
        request = messages.ListBasesRequest(model=model)
        found: list[Basis] = []
        while True:
            with self._errors():
                response = self._bases.ListBases(request, **self._how(timeout))
            found += bases_result(response)
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    def basis(
        self, name: str, *, wait_for_icons: bool = True, icons: bool = True, timeout: float | None = None
    ) -> Basis:
        """Return a basis with its groups.

        Args:
            wait_for_icons, icons: as in `semantic_dictionary`.
        """
        request = messages.GetBasisRequest(name=name, wait_for_icons=wait_for_icons, omit_icons=not icons)
        with self._errors():
            response = self._bases.GetBasis(request, **self._how(timeout, waits=icons and wait_for_icons))
        return basis_result(response)

    def build_basis(
        self,
        name: str,
        images: Iterable[Image],
        layer: str,
        *,
        model: str = "",
        components: int | None = None,
        rectify: bool = False,
        fit: Fit = "crop",
        folder: str = "",
        timeout: float | None = None,
    ) -> Iterator[BuildProgress]:
        """Find groups in any number of images, save them as a basis, and yield progress.

        Args:
            images: read as the server takes them; none where `folder` is given.
            layer: of shape [channels, height, width].
            components: how many groups, 6 by default.
            folder: on the server's machine, in one that its setting `image_folders` allows.
            timeout: without limit by default.
        """
        call = BuildCall(
            name,
            images,
            layer,
            model=model,
            components=components,
            rectify=rectify,
            fit=fit,
            folder=folder,
            max_message_bytes=self._connection.max_message_bytes,
        )
        with self._errors(), call.errors():
            for response in self._bases.BuildBasis(call.requests(), **self._how_long(timeout)):
                yield call.progress(response)

    def delete_basis(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a basis."""
        with self._errors():
            self._bases.DeleteBasis(messages.DeleteBasisRequest(name=name), **self._how(timeout))


class AwaitedBasisCalls(Connected):
    _bases: BasisServiceAsyncStub

    async def bases(self, *, model: str = "", timeout: float | None = None) -> list[Basis]:
        """Return all bases by name, without their groups.

        Args:
            model: only those of this model's present version.
        """
        request = messages.ListBasesRequest(model=model)
        found: list[Basis] = []
        while True:
            with self._errors():
                response = await self._bases.ListBases(request, **self._how(timeout))
            found += bases_result(response)
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    async def basis(
        self, name: str, *, wait_for_icons: bool = True, icons: bool = True, timeout: float | None = None
    ) -> Basis:
        """Return a basis with its groups.

        Args:
            wait_for_icons, icons: as in `semantic_dictionary`.
        """
        request = messages.GetBasisRequest(name=name, wait_for_icons=wait_for_icons, omit_icons=not icons)
        with self._errors():
            response = await self._bases.GetBasis(request, **self._how(timeout, waits=icons and wait_for_icons))
        return basis_result(response)

    async def build_basis(
        self,
        name: str,
        images: Iterable[Image],
        layer: str,
        *,
        model: str = "",
        components: int | None = None,
        rectify: bool = False,
        fit: Fit = "crop",
        folder: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[BuildProgress]:
        """Find groups in any number of images, save them as a basis, and yield progress.

        Args:
            images: read as the server takes them; none where `folder` is given.
            layer: of shape [channels, height, width].
            components: how many groups, 6 by default.
            folder: on the server's machine, in one that its setting `image_folders` allows.
            timeout: without limit by default.
        """
        call = BuildCall(
            name,
            images,
            layer,
            model=model,
            components=components,
            rectify=rectify,
            fit=fit,
            folder=folder,
            max_message_bytes=self._connection.max_message_bytes,
        )
        with self._errors(), call.errors():
            async for response in self._bases.BuildBasis(call.requests(), **self._how_long(timeout)):
                yield call.progress(response)

    async def delete_basis(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a basis."""
        with self._errors():
            await self._bases.DeleteBasis(messages.DeleteBasisRequest(name=name), **self._how(timeout))
