"""GetExamples: what natural images have shown of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timezone

from striate.calls.options import ModelOption
from striate.calls.replies import read_example, read_label, read_layer, read_model_ref
from striate.results.examples import ChannelExamples, LayerExamples
from striate.v1 import examples_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class GetExamplesCall(ModelOption):
    """What have natural images shown of these channels?"""

    layer: str
    """The path or alias of a layer that has been indexed."""
    channels: Sequence[int] | None = None
    """All by default."""
    examples: int | None = None
    """How many of each channel, all that are kept by default."""
    classes: int | None = None
    """So many of the classes that excite a channel most, 5 by default."""

    def request(self) -> messages.GetExamplesRequest:
        return messages.GetExamplesRequest(
            model=self.model,
            layer=self.layer,
            channels=self.channels or (),
            examples=self.examples,
            classes=self.classes,
        )

    def result(self, response: messages.GetExamplesResponse) -> LayerExamples:
        layer = read_layer(response.layer)
        return LayerExamples(
            model=read_model_ref(response.model),
            layer=layer,
            images=response.images,
            indexed=response.index_time.ToDatetime(timezone.utc),
            channels={
                each.channel: ChannelExamples(
                    channel=each.channel,
                    label=read_label(each.label, layer.name, each.channel),
                    examples=[read_example(one) for one in each.examples],
                    quantiles=dict(zip((round(share, 6) for share in response.shares), each.quantiles, strict=True)),
                    mean_peaks={one.class_name: one.mean_peak for one in each.classes},
                )
                for each in response.channels
            },
        )
