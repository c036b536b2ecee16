"""InterpretabilityService: a request becomes a question, which is answered, and the answer becomes a reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceServicer

from striate_service.explain.concurrency import run_concurrently
from striate_service.explain.dictionaries import SemanticDictionaries
from striate_service.explain.factorizations import Factorizations
from striate_service.explain.flows import GroupFlows
from striate_service.explain.icon_progress import IconProgress
from striate_service.explain.image_runner import ImageRunner
from striate_service.monitoring.requests import spending
from striate_service.scheduling.engine import Terms
from striate_service.scheduling.request_memory import RequestMemory
from striate_service.servicers import reading
from striate_service.servicers.context import Context, read_stream_terms, read_terms
from striate_service.servicers.interpretability import activations, dictionaries, groups, icon_keys, icons
from striate_service.servicers.interpretability.reader import Reader
from striate_service.servicers.statuses import status_of

_STREAM_WINDOW = 32  # requests of one stream that are worked on at a time; more wait in gRPC's own flow control
_WITHOUT_PLACE = 2  # for each worker, of these: their images wait in memory as they came


class InterpretabilityServicer(InterpretabilityServiceServicer):
    def __init__(
        self,
        reader: Reader,
        runner: ImageRunner,
        dictionaries: SemanticDictionaries,
        factorizations: Factorizations,
        flows: GroupFlows,
        icons: IconProgress,
        memory: RequestMemory,
    ) -> None:
        self._reader = reader
        self._runner = runner
        self._dictionaries = dictionaries
        self._factorizations = factorizations
        self._flows = flows
        self._icons = icons
        self._memory = memory

    async def Activations(  # noqa: N802 - gRPC's name
        self, request: messages.ActivationsRequest, context: Context
    ) -> messages.ActivationsResponse:
        terms = read_terms(context)
        question = activations.read(request, self._reader)
        answer = await self._runner.answer(question, terms)
        with spending("encode"):
            return activations.write(question, answer)

    async def StreamActivations(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.StreamActivationsRequest], context: Context
    ) -> AsyncIterator[messages.StreamActivationsResponse]:
        terms = read_stream_terms(context)

        def answer(
            item: messages.StreamActivationsRequest, placed: Callable[[], None]
        ) -> Awaitable[messages.StreamActivationsResponse]:
            return self._answer_item(item, replace(terms, placed=placed))

        responses = run_concurrently(
            aiter(request_iterator),
            answer,
            _STREAM_WINDOW,
            without_place=_WITHOUT_PLACE * self._runner.worker_count,
            in_order=False,
        )
        async with aclosing(responses):
            async for response in responses:
                yield response

    async def SemanticDictionary(  # noqa: N802
        self, request: messages.SemanticDictionaryRequest, context: Context
    ) -> messages.SemanticDictionaryResponse:
        terms = read_terms(context)
        question = dictionaries.read(request, self._reader)
        answer = await self._dictionaries.answer(question, terms)
        with spending("encode"):
            return dictionaries.write(question, answer)

    async def Factorize(  # noqa: N802
        self, request: messages.FactorizeRequest, context: Context
    ) -> messages.FactorizeResponse:
        terms = read_terms(context)
        question = await groups.read(request, self._reader)
        answer = await self._factorizations.answer(question, terms)
        with spending("encode"):
            return await groups.write(request, answer)

    async def FactorizeLayers(  # noqa: N802
        self, request: messages.FactorizeLayersRequest, context: Context
    ) -> messages.FactorizeLayersResponse:
        terms = read_terms(context)
        question = groups.read_flows(request, self._reader)
        answer = await self._flows.answer(question, terms)
        with spending("encode"):
            return await groups.write_flows(request, answer)

    async def RenderIcons(  # noqa: N802
        self, request: messages.RenderIconsRequest, context: Context
    ) -> AsyncIterator[messages.RenderIconsResponse]:
        terms = read_terms(context)
        question = icons.read(request, self._reader)
        async with aclosing(self._icons.render(question, terms.caller)) as updates:
            async for progress in updates:
                yield icons.write(question, progress)

    async def CancelIcons(  # noqa: N802
        self, request: messages.CancelIconsRequest, context: Context
    ) -> messages.CancelIconsResponse:
        cancelled = self._icons.cancel(icons.read_cancel(request, self._reader), read_terms(context).caller)
        return messages.CancelIconsResponse(cancelled=cancelled)

    async def WatchIcons(  # noqa: N802
        self, request: messages.WatchIconsRequest, context: Context
    ) -> AsyncIterator[messages.WatchIconsResponse]:
        terms = read_terms(context)
        subjects = await asyncio.to_thread(icon_keys.read, request, self._reader)
        async with aclosing(self._icons.watch(subjects, terms.caller, previews=request.previews)) as updates:
            async for progress in updates:
                yield icon_keys.write(progress)

    async def _answer_item(
        self, item: messages.StreamActivationsRequest, terms: Terms
    ) -> messages.StreamActivationsResponse:
        """Answer one request of a stream; its failure ends nothing else."""
        message = messages.StreamActivationsResponse()
        try:
            message.id = reading.bounded(item.id, "id")
            question = activations.read(item.request, self._reader)
            with self._memory.hold_anyway(question.images.size):
                answer = await self._runner.answer(question, terms)
            with spending("encode"):
                message.response.CopyFrom(activations.write(question, answer))
        except Exception as error:
            status = status_of(error)
            message.error.CopyFrom(
                messages.StreamError(code=status.code, message=status.message, details=status.details)
            )
        return message
