"""The client that blocks. `striate.aio.Client` is the one that is awaited; they differ in nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import grpc
from numpy.typing import NDArray

from striate import calls
from striate.basis_calls import BasisCalls
from striate.calls import (
    ActivationsCall,
    Attribution,
    DictionaryCall,
    DType,
    Fit,
    IconObjective,
    Reduce,
)
from striate.connection import Connection, Priority
from striate.errors import StriateError
from striate.example_calls import ExampleCalls
from striate.group_calls import FactorizeCall, FactorizeLayersCall
from striate.groups import Factorization, FactorizedLayers
from striate.images import Image
from striate.label_calls import LabelCalls
from striate.model_calls import ModelCalls
from striate.results import Activations, RenderProgress, SemanticDictionary
from striate.v1 import interpretability_pb2 as messages
from striate.v1.bases_pb2_grpc import BasisServiceStub
from striate.v1.examples_pb2_grpc import ExampleServiceStub
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate.v1.labels_pb2_grpc import LabelServiceStub
from striate.v1.models_pb2_grpc import ModelServiceStub


class Client(ModelCalls, BasisCalls, ExampleCalls, LabelCalls):
    """A connection to a Striate server. Use it as a context manager, or `close` it.

    Every call takes `timeout`, in seconds, and raises a `StriateError` where it brings no answer. It can be shared by
    threads.

    Args:
        target: the server's address, "host:port".
        timeout: seconds that a call waits for its answer, unless it says otherwise.
        max_message_bytes: the largest request and reply.
        caller: who calls, for the server's quotas and fair sharing.
        priority: "batch" for pipelines: they go after all who wait for an answer.
        metadata: sent with every call.
        credentials: for TLS; None: without.
    """

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        timeout: float = 60.0,
        max_message_bytes: int = 64 * 2**20,
        caller: str = "",
        priority: Priority = "interactive",
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._connection = Connection(target, timeout, max_message_bytes, caller, priority, metadata)
        options = self._connection.options
        self._channel = (
            grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
        )
        self._interpretability = InterpretabilityServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._labels = LabelServiceStub(self._channel)
        self._examples = ExampleServiceStub(self._channel)
        self._bases = BasisServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def activations(
        self,
        images: Image | Sequence[Image],
        layers: str | Sequence[str],
        *,
        model: str = "",
        reduce: Reduce = "none",
        channels: Sequence[int] | None = None,
        positions: Sequence[tuple[int, int]] | None = None,
        dtype: DType = "float32",
        classes: int | None = None,
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Activations:
        """Return what layers compute for images, and what the model predicts.

        Args:
            images: one or a list; see `striate.images.Image`.
            layers: paths or aliases.
            reduce: "mean" or "max" over positions.
            channels: only these, in this order.
            positions: only these (row, column), in this order; tensors are then [N, C, P].
            classes: how many to predict, 5 by default. 0: none; the network then runs only as deep as it must.
            fit: how an image is brought to the model's input size.
        """
        call = ActivationsCall.of(
            images,
            layers,
            model=model,
            reduce=reduce,
            channels=channels,
            positions=positions,
            dtype=dtype,
            classes=classes,
            fit=fit,
        )
        with self._errors():
            response = self._interpretability.Activations(call.request, **self._how(timeout))
        return call.result(response)

    def stream_activations(
        self,
        images: Iterable[tuple[str, Image | Sequence[Image]]],
        layers: str | Sequence[str],
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[tuple[str, Activations | StriateError]]:
        """Yield (id, what came of it) for a stream of (id, images), as they finish. One failure does not end the rest.

        Args:
            timeout: of the whole stream, in seconds; without limit by default.
            **options: those of `activations`.
        """
        pending: dict[str, ActivationsCall] = {}

        def requests() -> Iterator[messages.StreamActivationsRequest]:
            for key, given in images:
                pending[key] = call = ActivationsCall.of(given, layers, **options)
                yield calls.stream_request(key, call)

        with self._errors():
            metadata = self._connection.call_metadata
            for response in self._interpretability.StreamActivations(requests(), timeout=timeout, metadata=metadata):
                yield response.id, calls.stream_result(pending.pop(response.id), response, self.target)

    def semantic_dictionary(
        self,
        image: Image,
        layer: str,
        *,
        model: str = "",
        neurons: int | None = None,
        classes: int | Sequence[str] | None = None,
        positions: Sequence[tuple[int, int]] | None = None,
        wait_for_icons: bool = True,
        icons: bool = True,
        examples: int = 0,
        attribution: Attribution = "gradient_times_activation",
        steps: int | None = None,
        position_icons: bool = False,
        recipe: str = "",
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> SemanticDictionary:
        """Return what each position of a layer means: its strongest neurons, pictured and named.

        Args:
            layer: of shape [channels, height, width].
            neurons: how many per position, 6 by default.
            classes: effects on so many of the most probable classes, 5 by default, or on classes by name.
            positions: (row, column), all by default.
            wait_for_icons: wait until missing icons are rendered; else they are marked "queued".
            icons: False: neither send nor render any.
            examples: so many natural examples of each neuron, as far as the layer has been indexed (`index_examples`).
            attribution: how effects are computed; "none": not at all.
            steps: of integrated gradients, 32 by default.
            position_icons: also an icon of each position's whole activation vector.
            recipe: how icons are made, "fourier", "soft" or "maco"; by default as the server is set up.
        """
        call = DictionaryCall.of(
            image,
            layer,
            model=model,
            neurons=neurons,
            classes=classes,
            positions=positions,
            wait_for_icons=wait_for_icons,
            icons=icons,
            examples=examples,
            attribution=attribution,
            steps=steps,
            position_icons=position_icons,
            recipe=recipe,
            fit=fit,
        )
        with self._errors():
            how = self._how(timeout, waits=icons and wait_for_icons)
            response = self._interpretability.SemanticDictionary(call.request, **how)
        return call.result(response)

    def factorize(
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
        sobol_points: int = 0,
        rectify: bool = False,
        wait_for_icons: bool = True,
        icons: bool = True,
        recipe: str = "",
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> Factorization:
        """Return groups of neurons that are active together, in images or in activations from elsewhere.

        Args:
            images: one or a list; they are factorized together.
            layer: of shape [channels, height, width].
            activations: [N, C, H, W], instead of images and layer.
            components: how many groups, 6 by default; 0: as many as the activations ask for.
            basis: the name of a basis, whose groups are looked for, instead of finding others. `layer` can be left out.
            save_as: keep the groups as a basis of this name.
            classes: effects on so many of the most probable classes, 5 by default, or on classes by name.
            sobol_points: add Sobol indices, from so many points; 32 is usual. It takes (components + 2) forwards each.
            rectify: count negative activations as 0; else they are an error.
            wait_for_icons, icons, recipe: as in `semantic_dictionary`.
        """
        call = FactorizeCall.of(
            images,
            layer,
            activations=activations,
            model=model,
            components=components,
            basis=basis,
            save_as=save_as,
            classes=classes,
            sobol_points=sobol_points,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            icons=icons,
            recipe=recipe,
            fit=fit,
        )
        with self._errors():
            how = self._how(timeout, waits=icons and wait_for_icons)
            response = self._interpretability.Factorize(call.request, **how)
        return call.result(response)

    def factorize_layers(
        self,
        images: Image | Sequence[Image],
        layers: Sequence[str],
        *,
        model: str = "",
        components: int | None = None,
        classes: int | Sequence[str] | None = None,
        rectify: bool = False,
        wait_for_icons: bool = True,
        icons: bool = True,
        recipe: str = "",
        fit: Fit = "crop",
        timeout: float | None = None,
    ) -> FactorizedLayers:
        """Return the groups of several layers, and how those of one feed those of the next.

        Args:
            layers: of shape [channels, height, width], in the order in which they compute.
            components: how many groups in each, and the rest: as in `factorize`.
        """
        call = FactorizeLayersCall.of(
            images,
            layers,
            model=model,
            components=components,
            classes=classes,
            rectify=rectify,
            wait_for_icons=wait_for_icons,
            icons=icons,
            recipe=recipe,
            fit=fit,
        )
        with self._errors():
            how = self._how(timeout, waits=icons and wait_for_icons)
            response = self._interpretability.FactorizeLayers(call.request, **how)
        return call.result(response)

    def render_icons(
        self,
        layer: str,
        *,
        model: str = "",
        channels: Sequence[int] | None = None,
        objective: IconObjective = "channel",
        position: tuple[int, int] | None = None,
        recipe: str = "",
        facets: int = 1,
        icons: bool = True,
        detach: bool = False,
        timeout: float | None = None,
    ) -> Iterator[RenderProgress]:
        """Render a layer's icons ahead of time and yield progress.

        Args:
            channels: all by default.
            objective: "channel": its mean over positions; "neuron": the channel at one position.
            position: (row, column) of the neuron, the middle by default.
            recipe: how icons are made, "fourier", "soft" or "maco"; by default as the server is set up.
            facets: so many pictures of each that are unlike each other, at most 8.
            icons: False: report progress only.
            detach: let the server go on when this iteration ends early or the connection breaks.
            timeout: without limit by default.
        """
        request = calls.render_request(
            layer,
            model=model,
            channels=channels,
            objective=objective,
            position=position,
            recipe=recipe,
            facets=facets,
            icons=icons,
            detach=detach,
        )
        with self._errors():
            for response in self._interpretability.RenderIcons(request, **self._how_long(timeout)):
                yield calls.render_result(response)
