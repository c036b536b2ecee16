"""SemanticDictionary: what each position of a layer means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from striate.calls.fields import enum_value, fit_value, position_messages
from striate.calls.options import ExplanationOptions
from striate.calls.replies import read_icon, read_layer, read_model_ref, read_neuron, read_predictions, read_view
from striate.calls.targets import target_messages
from striate.images import Image, seen_part, write_image
from striate.results.dictionaries import PrefixToken
from striate.results.icons import IconSource
from striate.show import SemanticDictionary
from striate.tensors import array_from_tensor
from striate.v1 import interpretability_pb2 as messages

Attribution = Literal["gradient_times_activation", "integrated_gradients", "none"]
Order = Literal["magnitude", "activation"]


@dataclass(frozen=True, kw_only=True)
class SemanticDictionaryCall(ExplanationOptions):
    """What does each position of this layer mean?"""

    image: Image = field(repr=False)
    layer: str
    """The path or alias of a layer whose output holds a map (`Layer.is_map`)."""
    neurons: int | None = None
    """How many per position, 6 by default."""
    positions: Sequence[tuple[int, int]] | None = None
    """Only these (row, column), in this order; all by default."""
    examples: int = 0
    """So many natural examples of each neuron, where the layer has been indexed (`index_examples`)."""
    attribution: Attribution = "gradient_times_activation"
    """How effects are computed; "none": not at all."""
    steps: int | None = None
    """How many steps integrated gradients take, 32 by default."""
    position_icons: bool = False
    """Also an icon of each position's whole activation vector."""
    order: Order = "magnitude"
    """Which neurons are the strongest: those farthest from 0, which in layers without negative values are the most
    active; or "activation": the most active in any layer."""
    prefix_tokens: Sequence[str | int] = ()
    """Also these tokens before the first position, by name ("cls") or index."""

    def request(self) -> messages.SemanticDictionaryRequest:
        request = messages.SemanticDictionaryRequest(
            model=self.model,
            layer=self.layer,
            fit=fit_value(self.fit),
            neurons=self.neurons,
            classes=self.class_count,
            class_names=self.class_names,
            targets=target_messages(self.targets),
            positions=position_messages(self.positions),
            wait_for_icons=self.wait_for_icons,
            omit_icons=not self.icons,
            examples=self.examples,
            attribution=enum_value(messages.Attribution, "ATTRIBUTION", self.attribution, "attribution"),
            steps=self.steps,
            position_icons=self.position_icons,
            recipe=self.recipe,
            smooth_max_pool=self.smooth_max_pool,
            order=enum_value(messages.NeuronOrder, "NEURON_ORDER", self.order, "order"),
            prefix_tokens=map(str, self.prefix_tokens),
        )
        write_image(request.image, self.image)
        return request

    def result(
        self, response: messages.SemanticDictionaryResponse, client: IconSource | None = None
    ) -> SemanticDictionary:
        classes = [each.name for each in response.classes]
        channels, activations, effects = map(
            array_from_tensor, (response.channels, response.activations, response.effects)
        )
        icons = [read_icon(each) for each in response.position_icons]
        positions = array_from_tensor(response.positions)
        count = len(positions)  # prefix tokens follow the positions
        prefix = [
            PrefixToken(
                name, magnitude, channels[index], activations[index], effects[index], icons[index] if icons else None
            )
            for index, (name, magnitude) in enumerate(
                zip(response.prefix_tokens, response.prefix_magnitudes, strict=True), start=count
            )
        ]
        return SemanticDictionary(
            model=read_model_ref(response.model),
            layer=read_layer(response.layer),
            view=read_view(response.view, self.image),
            predictions=read_predictions(response.predictions),
            magnitude=array_from_tensor(response.magnitude),
            positions=positions,
            channels=channels[:count],
            activations=activations[:count],
            classes=classes,
            effects=effects[:count],
            neurons={neuron.channel: read_neuron(neuron) for neuron in response.neurons},
            image=seen_part(self.image, response.view),
            logits=dict(zip(classes, response.logits, strict=False)),
            baseline_logits=dict(zip(classes, response.baseline_logits, strict=False)),
            position_icons=icons[:count],
            prefix_tokens=prefix,
            smooth_max_pool=response.smooth_max_pool,
            client=client,
        )
