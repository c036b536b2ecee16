"""InterpretabilityService: what the caller may expect, and who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceServicer

from striate_service.scheduling.job import Lane
from striate_service.servicers import validation
from striate_service.servicers.activations import Activations
from striate_service.servicers.dictionaries import SemanticDictionaries
from striate_service.servicers.factorizations import Factorizations
from striate_service.servicers.flows import GroupFlows
from striate_service.servicers.icons import IconRendering
from striate_service.servicers.validation import Context


class InterpretabilityServicer(InterpretabilityServiceServicer):
    def __init__(
        self,
        activations: Activations,
        dictionaries: SemanticDictionaries,
        factorizations: Factorizations,
        flows: GroupFlows,
        rendering: IconRendering,
    ) -> None:
        self._activations = activations
        self._dictionaries = dictionaries
        self._factorizations = factorizations
        self._flows = flows
        self._rendering = rendering

    async def Activations(  # noqa: N802 - gRPC's name
        self, request: messages.ActivationsRequest, context: Context
    ) -> messages.ActivationsResponse:
        return await self._activations.answer(request, validation.terms(context))

    async def StreamActivations(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.StreamActivationsRequest], context: Context
    ) -> AsyncIterator[messages.StreamActivationsResponse]:
        terms = replace(validation.terms(context, Lane.BATCH), patient=True)
        async with aclosing(self._activations.stream(request_iterator, terms)) as responses:
            async for response in responses:
                yield response

    async def SemanticDictionary(  # noqa: N802
        self, request: messages.SemanticDictionaryRequest, context: Context
    ) -> messages.SemanticDictionaryResponse:
        return await self._dictionaries.answer(request, validation.terms(context))

    async def Factorize(  # noqa: N802
        self, request: messages.FactorizeRequest, context: Context
    ) -> messages.FactorizeResponse:
        return await self._factorizations.answer(request, validation.terms(context))

    async def FactorizeLayers(  # noqa: N802
        self, request: messages.FactorizeLayersRequest, context: Context
    ) -> messages.FactorizeLayersResponse:
        return await self._flows.answer(request, validation.terms(context))

    async def RenderIcons(  # noqa: N802
        self, request: messages.RenderIconsRequest, context: Context
    ) -> AsyncIterator[messages.RenderIconsResponse]:
        async with aclosing(self._rendering.render(request)) as responses:
            async for response in responses:
                yield response
