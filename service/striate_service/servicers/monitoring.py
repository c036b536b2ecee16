"""MonitoringService: monitors, what they see, and what has drifted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any

from striate.v1 import common_pb2 as pb
from striate.v1 import monitoring_pb2 as messages
from striate.v1.monitoring_pb2_grpc import MonitoringServiceServicer

from striate_service.config import Settings
from striate_service.errors import FailedPrecondition, InvalidArgument, WrongWeights
from striate_service.explain import monitoring
from striate_service.explain.bases import Library, model_with
from striate_service.explain.monitoring import (
    DriftQuestion,
    DriftReports,
    MonitorPlan,
    Monitors,
    ObservedImage,
    Profiles,
)
from striate_service.models.description import Preprocessing
from striate_service.scheduling.engine import Engine
from striate_service.servicers import encoding, reading
from striate_service.servicers.context import Context, read_stream_terms, read_terms
from striate_service.servicers.profiles import read_profile, write_profile
from striate_service.servicers.streams import image_messages, read_source, read_start, skipped_messages
from striate_service.stores.monitors import StoredMonitor

_USUAL_WINDOW, _LEAST_WINDOW, _MOST_WINDOW = 500, 30, 2000
_MOST_REFERENCE = 100_000
_MOST_BASES = 16
_LONGEST_SLICE = 64
_MOST_OUTCOMES = 10_000
_MOST_ITEMS, _MOST_PICTURES = 200, 8
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(2200, 1, 1)


class MonitoringServicer(MonitoringServiceServicer):
    def __init__(
        self,
        engine: Engine,
        monitors: Monitors,
        reports: DriftReports,
        profiles: Profiles,
        library: Library,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._monitors = monitors
        self._reports = reports
        self._profiles = profiles
        self._library = library
        self._max_reply_bytes = settings.max_message_bytes
        self._max_images = settings.max_images_per_request

    async def CreateMonitor(  # noqa: N802 - gRPC's name
        self, request: messages.CreateMonitorRequest, context: Context
    ) -> messages.CreateMonitorResponse:
        return messages.CreateMonitorResponse(
            monitor=_monitor_message(await self._monitors.create(await self._read_plan(request)))
        )

    async def ListMonitors(  # noqa: N802
        self, request: messages.ListMonitorsRequest, context: Context
    ) -> messages.ListMonitorsResponse:
        monitors, following = reading.page_by_name(request, await self._monitors.list())
        return messages.ListMonitorsResponse(monitors=map(_monitor_message, monitors), next_page_token=following)

    async def GetMonitor(  # noqa: N802
        self, request: messages.GetMonitorRequest, context: Context
    ) -> messages.GetMonitorResponse:
        monitor = await self._monitors.find(reading.basis_name(request.name, "name"))
        return messages.GetMonitorResponse(monitor=_monitor_message(monitor))

    async def DeleteMonitor(  # noqa: N802
        self, request: messages.DeleteMonitorRequest, context: Context
    ) -> messages.DeleteMonitorResponse:
        await self._monitors.delete(reading.basis_name(request.name, "name"))
        return messages.DeleteMonitorResponse()

    async def Observe(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.ObserveRequest], context: Context
    ) -> AsyncIterator[messages.ObserveResponse]:
        terms = read_stream_terms(context)
        requests = aiter(request_iterator)
        start = read_start(await anext(requests, None), "names the monitor")
        monitor = await self._monitors.find(reading.basis_name(start.monitor, "start.monitor"))
        model = model_with(monitor.model_version, self._engine.models)
        preprocessing = (model or self._engine.models[0]).preprocessing  # that it is not served is found out below
        images = self._read_images(requests, preprocessing)
        async with aclosing(self._monitors.observe(monitor.name, images, terms, reference=start.reference)) as updates:
            async for progress in updates:
                yield messages.ObserveResponse(
                    stored=progress.stored,
                    repeated_images=progress.known,
                    skipped=skipped_messages(progress.skipped),
                )

    async def AddOutcomes(  # noqa: N802
        self, request: messages.AddOutcomesRequest, context: Context
    ) -> messages.AddOutcomesResponse:
        monitor = await self._monitors.find(reading.basis_name(request.monitor, "monitor"))
        reading.in_range(len(request.outcomes), "outcomes", 1, _MOST_OUTCOMES)
        model = model_with(monitor.model_version, self._engine.models)
        if model is None or not model.classes:
            raise InvalidArgument("monitor", "is of a model that is not served here, or has no classes.")
        index = {name: number for number, name in enumerate(model.classes)}
        outcomes = []
        for number, outcome in enumerate(request.outcomes):
            reading.text(outcome.id, f"outcomes[{number}].id", least=1)
            if outcome.class_name not in index:
                raise InvalidArgument(
                    f"outcomes[{number}].class_name",
                    f"should be one of the {len(index)} classes of {model.name}, such as {model.classes[0]!r}.",
                )
            outcomes.append((outcome.id, index[outcome.class_name]))
        return messages.AddOutcomesResponse(added=await self._monitors.add_outcomes(monitor.name, outcomes))

    async def GetDrift(  # noqa: N802
        self, request: messages.GetDriftRequest, context: Context
    ) -> messages.GetDriftResponse:
        question = DriftQuestion(
            reading.basis_name(request.monitor, "monitor"),
            reading.in_range(request.items, "items", 0, _MOST_ITEMS)
            if request.HasField("items")
            else DriftQuestion.items,
            reading.in_range(request.pictures, "pictures", 0, _MOST_PICTURES)
            if request.HasField("pictures")
            else DriftQuestion.pictures,
            reading.text(request.slice, "slice", most=_LONGEST_SLICE),
            request.omit_icons,
        )
        return _drift_message(await self._reports.report(question, read_terms(context)))

    async def ExportProfile(  # noqa: N802
        self, request: messages.ExportProfileRequest, context: Context
    ) -> messages.ExportProfileResponse:
        name = reading.basis_name(request.monitor, "monitor")
        profile = await self._profiles.export(name, pictures=not request.omit_pictures)
        message = await asyncio.to_thread(write_profile, profile)
        if (size := message.ByteSize()) > self._max_reply_bytes:
            raise FailedPrecondition(
                f"the profile of {name!r}",
                f"has {size / 2**20:.0f} MiB, more than a message may; export it without pictures.",
            )
        return messages.ExportProfileResponse(profile=message)

    async def ImportProfile(  # noqa: N802
        self, request: messages.ImportProfileRequest, context: Context
    ) -> messages.ImportProfileResponse:
        name = reading.basis_name(request.monitor, "monitor")
        profile = await asyncio.to_thread(read_profile, request.profile, _MOST_WINDOW)
        monitor, added = await self._profiles.merge(name, profile, reference_only=request.reference_only)
        return messages.ImportProfileResponse(monitor=_monitor_message(monitor), added=added)

    async def _read_plan(self, request: messages.CreateMonitorRequest) -> MonitorPlan:
        name = reading.basis_name(request.name, "name")
        model = reading.find_model(self._engine.models, request.model)
        layers = reading.find_layers(model, request.layers) if request.layers or not request.bases else []
        for number, layer in enumerate(layers):
            reading.find_map(model, layer.path, f"layers[{number}]")
        reading.in_range(len(request.bases), "bases", 0, _MOST_BASES)
        bases = [
            await self._library.find(reading.basis_name(each, f"bases[{number}]"))
            for number, each in enumerate(request.bases)
        ]
        if len({basis.name for basis in bases}) < len(bases):
            raise InvalidArgument("bases", "names a basis twice.")
        for basis in bases:
            if basis.model_version != model.version:
                raise WrongWeights(
                    basis.name, f"belongs to version {basis.model_version}; {model.name} has {model.version}"
                )
        window = request.window if request.HasField("window") else _USUAL_WINDOW
        return MonitorPlan(
            name,
            model,
            layers,
            bases,
            reading.in_range(window, "window", _LEAST_WINDOW, _MOST_WINDOW),
            reading.in_range(request.reference_from_traffic, "reference_from_traffic", 0, _MOST_REFERENCE),
            request.omit_pictures,
            reading.read_fit(request.fit, "fit"),
        )

    async def _read_images(
        self, requests: AsyncIterator[messages.ObserveRequest], preprocessing: Preprocessing
    ) -> AsyncGenerator[Sequence[ObservedImage], None]:
        async for given in image_messages(requests, self._max_images):
            yield [_read_image(each, f"images[{number}]", preprocessing) for number, each in enumerate(given)]


def _read_image(given: messages.ObservedImage, field: str, preprocessing: Preprocessing) -> ObservedImage:
    taken = None
    if given.HasField("time"):
        try:
            taken = given.time.ToDatetime()
        except (ValueError, OverflowError) as error:
            raise InvalidArgument(f"{field}.time", "is no time from the year 1 to 9999.") from error
        if not _EARLIEST <= taken <= _LATEST:
            raise InvalidArgument(f"{field}.time", f"is in the year {taken.year}; it should be from 1900 to 2200.")
    return ObservedImage(
        read_source(given.image, preprocessing),
        reading.text(given.id, f"{field}.id"),
        slice=reading.text(given.slice, f"{field}.slice", most=_LONGEST_SLICE),
        taken=taken,
    )


def _monitor_message(monitor: StoredMonitor) -> messages.Monitor:
    message = messages.Monitor(
        name=monitor.name,
        model=pb.ModelRef(name=monitor.model, version=monitor.model_version),
        layers=monitor.layers,
        bases=monitor.bases,
        window=monitor.window,
        reference_from_traffic=monitor.reference_from_traffic,
        omit_pictures=monitor.omit_pictures,
        reference_images=monitor.reference_images,
        observed_images=monitor.observed_images,
    )
    for field, time in (("create_time", monitor.created), ("last_observed", monitor.last_observed)):
        if time:
            getattr(message, field).FromDatetime(time.replace(tzinfo=timezone.utc))
    return message


def _drift_message(found: monitoring.DriftAnswer) -> messages.GetDriftResponse:
    model = found.watched.model
    return messages.GetDriftResponse(
        monitor=_monitor_message(found.monitor),
        images=found.images,
        reference_images=found.reference_images,
        enough=found.enough,
        significant=found.significant,
        layers=[
            messages.LayerDrift(
                layer=each.layer,
                score=each.score,
                significant_channels=each.significant_channels,
                dead_channels=each.dead_channels,
                newly_dead_channels=each.newly_dead_channels,
                saturated_channels=each.saturated_channels,
                newly_saturated_channels=each.newly_saturated_channels,
                sparsity=_drift(each.sparsity),
            )
            for each in found.layers
        ],
        bases=[
            messages.BasisDrift(
                basis=each.basis,
                layer=each.layer,
                novelty=_drift(each.novelty),
                novelty_before=each.novelty_before,
                novelty_now=each.novelty_now,
            )
            for each in found.bases
        ],
        channels=[_channel(each) for each in found.channels],
        concepts=[
            messages.ConceptDrift(
                name=each.name,
                score=each.score,
                significant=each.significant,
                channels=each.channels,
                most_drifted=_channel(each.most_drifted),
            )
            for each in found.concepts
        ],
        groups=[
            messages.GroupDrift(
                basis=each.basis,
                group=each.group,
                dominant_images=each.dominant.images,
                outcomes=each.dominant.outcomes,
                accuracy=each.dominant.accuracy,
                **_shown(each),
            )
            for each in found.groups
        ],
        classes=[
            messages.ClassDrift(
                predicted_class=pb.Class(index=each.index, name=model.classes[each.index]), drift=_drift(each.drift)
            )
            for each in found.classes
        ],
        confidence=_drift(found.confidence) if found.confidence else None,
        slices=[
            messages.SliceSummary(slice=each.slice, images=each.images, outcomes=each.outcomes, accuracy=each.accuracy)
            for each in found.slices
        ],
    )


def _channel(item: monitoring.ChannelDrift) -> messages.ChannelDrift:
    return messages.ChannelDrift(layer=item.layer, channel=item.channel, mean=item.mean, **_shown(item))


def _shown(item: monitoring.ChannelDrift | monitoring.GroupDrift) -> dict[str, Any]:
    """Return the fields that channels and groups have in common."""
    return {
        "label": encoding.label(item.label),
        "icon": encoding.icon(item.icon),
        "drift": _drift(item.drift),
        "reference_pictures": item.reference_pictures,
        "window_pictures": item.window_pictures,
        "slices": [
            messages.SliceDrift(slice=each.slice, images=each.images, effect=each.effect) for each in item.slices
        ],
    }


def _drift(found: monitoring.Drift) -> messages.Drift:
    return messages.Drift(**vars(found))
