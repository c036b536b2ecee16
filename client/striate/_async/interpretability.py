"""The calls of InterpretabilityService: what a network sees in images."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

from numpy.typing import NDArray

from striate._async.icons import IconCalls
from striate.calls.activations import ActivationsCall, DType, Reduce
from striate.calls.cancel_icons import CancelIconsCall
from striate.calls.factorize import FactorizeCall
from striate.calls.factorize_layers import FactorizeLayersCall
from striate.calls.options import Fit, Method
from striate.calls.render_icons import RenderIconsCall
from striate.calls.semantic_dictionary import Attribution, Order, SemanticDictionaryCall
from striate.calls.targets import Target
from striate.errors import StriateError
from striate.images import Image
from striate.results.activations import Activations
from striate.results.neurons import RenderProgress
from striate.show import Factorization, FactorizedLayers, SemanticDictionary
from striate.transport import open_async_stream
from striate.v1 import interpretability_pb2 as messages


class InterpretabilityCalls(IconCalls):
    async def activations(
        self,
        images: Image | Sequence[Image],
        layers: str | Sequence[str],
        *,
        model: str = "",
        reduce: Reduce = "none",
        channels: Sequence[int] | None = None,
        positions: Sequence[tuple[int, int]] | None = None,
        prefix_tokens: Sequence[str | int] = (),
        dtype: DType = "float32",
        classes: int | None = None,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Activations:
        """Return what layers compute for images, and what the model predicts: see `calls.activations`."""
        call = ActivationsCall(
            images=images,
            layers=layers,
            model=model,
            reduce=reduce,
            channels=channels,
            positions=positions,
            prefix_tokens=prefix_tokens,
            dtype=dtype,
            classes=classes,
            fit=fit,
        )
        request = call.request()
        with self._connection.errors():
            response = await self._interpretability.Activations(request, **self._connection.call_options(timeout))
        return call.result(response)

    async def stream_activations(
        self,
        images: AsyncIterable[tuple[str, Image | Sequence[Image]]],
        layers: str | Sequence[str],
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[str, Activations | StriateError]]:
        """Yield (id, result or error) for a stream of (id, images), as they finish. One failure does not end the rest.

        Args:
            timeout: of the whole stream, in seconds; without limit by default.
            **options: those of `activations`.
        """
        pending: dict[str, ActivationsCall] = {}

        async def requests() -> AsyncIterator[messages.StreamActivationsRequest]:
            async for key, given in images:
                pending[key] = call = ActivationsCall(images=given, layers=layers, **options)
                yield call.stream_request(key)

        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors():
            async for response in open_async_stream(
                self._interpretability.StreamActivations, requests(), **call_options
            ):
                yield response.id, pending.pop(response.id).stream_result(response, self.target)

    async def semantic_dictionary(
        self,
        image: Image,
        layer: str,
        *,
        model: str = "",
        neurons: int | None = None,
        classes: int | Sequence[str] | None = None,
        targets: Target | Sequence[Target] = (),
        positions: Sequence[tuple[int, int]] | None = None,
        prefix_tokens: Sequence[str | int] = (),
        wait_for_icons: bool = False,
        icons: bool = True,
        examples: int = 0,
        attribution: Attribution = "gradient_times_activation",
        steps: int | None = None,
        position_icons: bool = False,
        order: Order = "magnitude",
        recipe: str = "",
        smooth_max_pool: bool = False,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> SemanticDictionary:
        """Return what each position of a layer means: its strongest neurons, pictured and named.

        The options are those of `calls.semantic_dictionary`.
        """
        call = SemanticDictionaryCall(
            image=image,
            layer=layer,
            model=model,
            neurons=neurons,
            classes=classes,
            targets=targets,
            positions=positions,
            prefix_tokens=prefix_tokens,
            wait_for_icons=wait_for_icons,
            icons=icons,
            examples=examples,
            attribution=attribution,
            steps=steps,
            position_icons=position_icons,
            order=order,
            recipe=recipe,
            smooth_max_pool=smooth_max_pool,
            fit=fit,
        )
        request = call.request()
        call_options = self._connection.call_options(timeout, waits_for_icons=call.waits_for_icons)
        with self._connection.errors():
            response = await self._interpretability.SemanticDictionary(request, **call_options)
        return call.result(response, self)

    async def factorize(
        self,
        images: Image | Sequence[Image] | None = None,
        layer: str = "",
        *,
        activations: NDArray[Any] | None = None,
        model: str = "",
        components: int | None = None,
        basis: str = "",
        save_as: str = "",
        classes: int | Sequence[str] | None = None,
        targets: Target | Sequence[Target] = (),
        sobol_points: int = 0,
        method: Method | None = None,
        rectify: bool = False,
        wait_for_icons: bool = False,
        icons: bool = True,
        recipe: str = "",
        smooth_max_pool: bool = False,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Factorization:
        """Return groups of neurons that are active together, in images or in activations from elsewhere.

        The options are those of `calls.factorize`.
        """
        call = FactorizeCall(
            images=images,
            layer=layer,
            activations=activations,
            model=model,
            components=components,
            basis=basis,
            save_as=save_as,
            classes=classes,
            targets=targets,
            sobol_points=sobol_points,
            method=method,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            icons=icons,
            recipe=recipe,
            smooth_max_pool=smooth_max_pool,
            fit=fit,
        )
        request = call.request()
        call_options = self._connection.call_options(timeout, waits_for_icons=call.waits_for_icons)
        with self._connection.errors():
            response = await self._interpretability.Factorize(request, **call_options)
        return call.result(response, self)

    async def factorize_layers(
        self,
        images: Image | Sequence[Image],
        layers: Sequence[str],
        *,
        model: str = "",
        components: int | None = None,
        classes: int | Sequence[str] | None = None,
        targets: Target | Sequence[Target] = (),
        method: Method | None = None,
        rectify: bool = False,
        wait_for_icons: bool = False,
        icons: bool = True,
        recipe: str = "",
        smooth_max_pool: bool = False,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> FactorizedLayers:
        """Return the groups of several layers, and how those of one feed those of the next.

        The options are those of `calls.factorize_layers`.
        """
        call = FactorizeLayersCall(
            images=images,
            layers=layers,
            model=model,
            components=components,
            classes=classes,
            targets=targets,
            method=method,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            icons=icons,
            recipe=recipe,
            smooth_max_pool=smooth_max_pool,
            fit=fit,
        )
        request = call.request()
        call_options = self._connection.call_options(timeout, waits_for_icons=call.waits_for_icons)
        with self._connection.errors():
            response = await self._interpretability.FactorizeLayers(request, **call_options)
        return call.result(response, self)

    async def render_icons(
        self,
        layer: str,
        *,
        model: str = "",
        channels: Sequence[int] | None = None,
        objective: str = "channel",
        position: tuple[int, int] | None = None,
        recipe: str = "",
        facets: int = 1,
        icons: bool = True,
        detach: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[RenderProgress]:
        """Render a layer's icons ahead of time and yield progress: see `calls.render_icons`.

        Args:
            timeout: without limit by default.
        """
        call = RenderIconsCall(
            layer=layer,
            model=model,
            channels=channels,
            objective=objective,
            position=position,
            recipe=recipe,
            facets=facets,
            icons=icons,
            detach=detach,
        )
        request = call.request()
        call_options = self._connection.unlimited_call_options(timeout)
        with self._connection.errors():
            async for response in self._interpretability.RenderIcons(request, **call_options):
                yield call.result(response)

    async def cancel_icons(self, layer: str = "", *, model: str = "", timeout: float | None = None) -> int:
        """Take back what `render_icons` with `detach` has left, and return how many icons that were: see
        `calls.cancel_icons`.
        """
        call = CancelIconsCall(layer=layer, model=model)
        request = call.request()
        with self._connection.errors():
            response = await self._interpretability.CancelIcons(request, **self._connection.call_options(timeout))
        return call.result(response)
