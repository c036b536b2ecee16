"""The calls of MonitoringService: what a network sees in traffic, beside a reference."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import grpc

from striate._async.icons import IconCalls
from striate.calls.add_outcomes import AddOutcomesCall
from striate.calls.create_monitor import CreateMonitorCall
from striate.calls.drift import DriftCall
from striate.calls.export_profile import ExportProfileCall
from striate.calls.import_profile import ImportProfileCall
from striate.calls.list_monitors import ListMonitorsCall
from striate.calls.monitors import read_monitor
from striate.calls.observe_images import ObserveImagesCall
from striate.calls.options import Fit
from striate.images import Image, LabelledImage, ObservedImage
from striate.results.monitoring import Monitor, ObserveProgress, Profile
from striate.show import Drift
from striate.transport import Connection, async_requests, open_async_stream
from striate.v1 import monitoring_pb2 as messages
from striate.v1.monitoring_pb2_grpc import MonitoringServiceStub
from striate.watching import Watch


class MonitoringCalls(IconCalls):
    def __init__(self, connection: Connection, credentials: grpc.ChannelCredentials | None) -> None:
        super().__init__(connection, credentials)
        self._monitoring = MonitoringServiceStub(self._channel)
        self._credentials = credentials

    async def create_monitor(
        self,
        name: str,
        layers: str | Sequence[str] = (),
        *,
        bases: Sequence[str] = (),
        reference: int | Profile | Iterable[Image | LabelledImage | ObservedImage] = (),
        window: int | None = None,
        pictures: bool = True,
        model: str = "",
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Monitor:
        """Make a monitor, and send it its reference: see `calls.create_monitor`.

        Args:
            timeout: of making it; its reference may take as long as it needs. `observe_images(..., reference=True)`
                sends one with progress.
        """
        call = CreateMonitorCall(
            name=name,
            layers=layers,
            bases=bases,
            reference=reference,
            window=window,
            pictures=pictures,
            model=model,
            fit=fit,
        )
        with self._connection.errors():
            response = await self._monitoring.CreateMonitor(call.request(), **self._connection.call_options(timeout))
        if isinstance(reference, Profile):
            await self.import_profile(name, reference, reference_only=True)
            return await self.monitor(name)
        if call.images:
            async for _ in self.observe_images(name, call.images, reference=True):
                pass
            return await self.monitor(name)
        return call.result(response)

    async def monitor(self, name: str, *, timeout: float | None = None) -> Monitor:
        """Return a monitor by its name."""
        request = messages.GetMonitorRequest(name=name)
        with self._connection.errors():
            response = await self._monitoring.GetMonitor(request, **self._connection.call_options(timeout))
        return read_monitor(response.monitor)

    async def list_monitors(self, *, timeout: float | None = None) -> list[Monitor]:
        """Return all monitors, by name: see `calls.list_monitors`."""
        call = ListMonitorsCall()
        request = call.request()
        found: list[Monitor] = []
        while True:
            with self._connection.errors():
                response = await self._monitoring.ListMonitors(request, **self._connection.call_options(timeout))
            found += call.result(response)
            if not response.next_page_token:
                return found
            request = call.request(response.next_page_token)

    async def delete_monitor(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a monitor with all that it keeps."""
        request = messages.DeleteMonitorRequest(name=name)
        with self._connection.errors():
            await self._monitoring.DeleteMonitor(request, **self._connection.call_options(timeout))

    async def observe_images(
        self,
        monitor: str,
        images: Iterable[Image | LabelledImage | ObservedImage],
        *,
        reference: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[ObserveProgress]:
        """Let a monitor see images, and yield what is stored: see `calls.observe_images`. `observe` is for traffic.

        Args:
            timeout: without limit by default.
        """
        call = ObserveImagesCall(monitor=monitor, images=images, reference=reference)
        upload = call.upload(self._connection.max_message_bytes)
        requests = async_requests(upload.requests())
        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors(), upload.errors():
            async for response in open_async_stream(self._monitoring.Observe, requests, **call_options):
                yield call.result(response, upload)

    def observe(self, monitor: str, *, sample_rate: float = 1.0, buffer: int = 256) -> Watch:
        """Return what lets a monitor see images of traffic without ever holding up who serves it: see `Watch`.

            with client.observe("prod") as watch:
                watch.add(image, slice="camera-3")

        Args:
            monitor: its name.
            sample_rate: the share of images that are sent, chosen by chance.
            buffer: how many images may wait to be sent; further ones are dropped, and counted.
        """
        return Watch(self._connection, self._credentials, monitor, sample_rate, buffer)

    async def add_outcomes(self, monitor: str, outcomes: Mapping[str, str], *, timeout: float | None = None) -> int:
        """Say which classes images really are of, and return how many of them are kept: see `calls.add_outcomes`."""
        call = AddOutcomesCall(monitor=monitor, outcomes=outcomes)
        with self._connection.errors():
            response = await self._monitoring.AddOutcomes(call.request(), **self._connection.call_options(timeout))
        return call.result(response)

    async def export_profile(self, monitor: str, *, pictures: bool = True, timeout: float | None = None) -> Profile:
        """Return what a monitor keeps: see `calls.export_profile`. `striate.write_profile` writes it to a file."""
        call = ExportProfileCall(monitor=monitor, pictures=pictures)
        with self._connection.errors():
            response = await self._monitoring.ExportProfile(call.request(), **self._connection.call_options(timeout))
        return call.result(response)

    async def import_profile(
        self, monitor: str, profile: Profile, *, reference_only: bool = False, timeout: float | None = None
    ) -> int:
        """Let a monitor take in what another has kept; return how many images it did not know: see
        `calls.import_profile`."""
        call = ImportProfileCall(monitor=monitor, profile=profile, reference_only=reference_only)
        with self._connection.errors():
            response = await self._monitoring.ImportProfile(call.request(), **self._connection.call_options(timeout))
        return call.result(response)

    async def drift(
        self,
        monitor: str,
        *,
        items: int | None = None,
        pictures: int | None = None,
        slice: str = "",
        icons: bool = True,
        timeout: float | None = None,
    ) -> Drift:
        """Compare the newest images of traffic with the reference: see `calls.drift`."""
        call = DriftCall(monitor=monitor, items=items, pictures=pictures, slice=slice, icons=icons)
        with self._connection.errors():
            response = await self._monitoring.GetDrift(call.request(), **self._connection.call_options(timeout))
        return call.result(response, self)
